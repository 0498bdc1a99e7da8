-- An index for the search of keys by a part of their name or owner. pg_trgm is a
-- trusted extension: the owner of the database may create it. Where it isn't
-- installed or allowed, the search reads the whole table.
-- +goose Up
-- +goose StatementBegin
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX api_keys_search ON api_keys USING gin (lower(name) gin_trgm_ops, lower(owner) gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR undefined_object OR feature_not_supported THEN
    RAISE NOTICE 'no index for the search of keys: %', SQLERRM;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS api_keys_search;
