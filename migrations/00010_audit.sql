-- Who changed what: one row a change, written in the change's own transaction
-- and never changed afterwards. The time leads the primary key, so that the
-- table can be partitioned by it, or old rows be removed in its order.
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
