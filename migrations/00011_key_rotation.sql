-- A key that was rotated knows its successor: it can't be rotated again, or
-- whoever stole it could mint themselves a new one in its grace period.
-- +goose Up
ALTER TABLE api_keys ADD COLUMN rotated_to text REFERENCES api_keys (id);

-- +goose Down
ALTER TABLE api_keys DROP COLUMN rotated_to;
