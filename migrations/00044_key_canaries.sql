-- A canary per pepper version: a MAC of a constant, written with the first key
-- that was hashed or verified under the pepper. A wrong pepper is found at start
-- by it, instead of rejecting every key.
-- +goose Up
CREATE TABLE key_canaries (
    pepper_version text PRIMARY KEY,
    mac            bytea NOT NULL CHECK (length(mac) = 32),
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE key_canaries;
