-- One-use tickets that open a WebSocket in place of a key.
-- +goose Up
CREATE UNLOGGED TABLE tickets ( -- a crash of the database forgets tickets, which live for seconds
    hash       bytea PRIMARY KEY, -- SHA-256 of the ticket
    key_id     text NOT NULL,     -- of the key that asked for it
    owner      text NOT NULL,     -- of that key
    expires_at timestamptz NOT NULL
);
CREATE INDEX tickets_owner ON tickets (owner, expires_at);
CREATE INDEX tickets_expires_at ON tickets (expires_at);

-- +goose Down
DROP TABLE tickets;
