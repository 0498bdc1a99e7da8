-- Usage and simulations cover all keys of a subject.
-- +goose Up
CREATE INDEX api_keys_subject ON api_keys (subject);

-- +goose Down
DROP INDEX api_keys_subject;
