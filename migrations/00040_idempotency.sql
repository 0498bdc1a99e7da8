-- What became of requests that carried an Idempotency-Key. A row stands in the
-- transaction of the order that it is about, so that neither is there without
-- the other. It holds nothing of the order itself: an answer is made again from
-- the order, or is the list of faults, which repeats no value.
-- +goose Up
CREATE TABLE idempotency_keys (
    owner      text NOT NULL,
    key        text NOT NULL, -- the caller's
    body_hash  bytea NOT NULL CHECK (octet_length(body_hash) = 32), -- SHA-256 of the decoded order
    order_id   text UNIQUE REFERENCES orders (id) ON DELETE CASCADE, -- null: it was refused
    refusal    jsonb, -- the faults that were found; null: it was placed
    request_id text NOT NULL, -- of the first request, which its refusal names
    created_at timestamptz NOT NULL DEFAULT now(), -- counts as absent a day after, and is removed later, in small batches
    PRIMARY KEY (owner, key),
    CHECK ((order_id IS NULL) <> (refusal IS NULL))
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- +goose Down
DROP TABLE idempotency_keys;
