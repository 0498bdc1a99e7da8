-- The audit: one row per change, written in the transaction of the change and
-- never updated. The time comes first in the primary key, so that the table can
-- be partitioned by it and old rows can be deleted in its order.
-- +goose Up
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL, -- a key's id, or a name such as cli
    action     text NOT NULL, -- noun.verb
    target     text NOT NULL, -- the id or the name of what was changed
    before     jsonb, -- null: it wasn't there
    after      jsonb, -- null: it is gone
    ip         inet, -- null: not over the network
    request_id text,
    PRIMARY KEY (at, id)
);
CREATE INDEX audit_log_actor ON audit_log (actor, at DESC, id DESC);
CREATE INDEX audit_log_target ON audit_log (target, at DESC, id DESC);

-- +goose Down
DROP TABLE audit_log;
