-- A rotated key records its successor and can't be rotated again. Otherwise a
-- stolen key could create a new one in its grace period.
-- +goose Up
ALTER TABLE api_keys ADD COLUMN rotated_to text REFERENCES api_keys (id);

-- +goose Down
ALTER TABLE api_keys DROP COLUMN rotated_to;
