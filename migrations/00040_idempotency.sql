-- Outcomes of requests with an Idempotency-Key. A row is written in the
-- transaction of its order, so that neither exists without the other. It holds
-- no response: that is rebuilt from the order, or from the list of faults.
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
