-- Suspension of keys, which unlike revocation can be undone.
-- +goose Up
ALTER TABLE api_keys ADD COLUMN suspended_at timestamptz;

-- +goose Down
ALTER TABLE api_keys DROP COLUMN suspended_at;
