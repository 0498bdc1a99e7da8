-- Partitions are created apart from dropping expired ones, so that a write that
-- misses a partition drops nothing. The ids of applied batches get the database's
-- time and are no longer partitioned, so that a machine with a wrong clock can
-- write usage. Usage by second is packed: an array takes a fraction of as many rows.
-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION create_partitions(around timestamptz) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '2s' SET timezone = 'UTC' AS $$
DECLARE
    kept  partitioned_tables;
    step  interval;
    first timestamptz;
    part  text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('keep_partitions'));
    FOR kept IN SELECT * FROM partitioned_tables ORDER BY name LOOP
        step := ('1 ' || kept.span)::interval;
        FOR i IN -1..1 LOOP
            first := date_trunc(kept.span, around) + i * step;
            part := kept.name || '_' || to_char(first, 'YYYYMMDD');
            CONTINUE WHEN to_regclass(part) IS NOT NULL OR first + step + kept.life <= around;
            -- Attaching, unlike PARTITION OF, leaves readers and writers alone.
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, kept.name);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', kept.name, part, first, first + step);
        END LOOP;
    END LOOP;
END $$;
-- +goose StatementEnd

-- keep_partitions creates the partitions around a time, drops the expired ones
-- and returns their names. It gives up early on locks, because it is called again.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keep_partitions(around timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SET lock_timeout = '2s' SET timezone = 'UTC' AS $$
DECLARE
    kept partitioned_tables;
    part text;
BEGIN
    PERFORM create_partitions(around);
    FOR kept IN SELECT * FROM partitioned_tables ORDER BY name LOOP
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = kept.name::regclass ORDER BY c.relname
        LOOP
            CONTINUE WHEN to_date(right(part, 8), 'YYYYMMDD') + ('1 ' || kept.span)::interval + kept.life > around;
            EXECUTE format('DROP TABLE %I', part);
            RETURN NEXT part;
        END LOOP;
    END LOOP;
END $$;
-- +goose StatementEnd

CREATE TABLE applied_flushes (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now() -- rows are removed a day after
);
LOCK TABLE usage_flushes; -- of instances of the previous release
INSERT INTO applied_flushes SELECT id, max(at) FROM usage_flushes GROUP BY id;
DELETE FROM partitioned_tables WHERE name = 'usage_flushes';
DROP TABLE usage_flushes;
ALTER TABLE applied_flushes RENAME TO usage_flushes;
ALTER INDEX applied_flushes_pkey RENAME TO usage_flushes_pkey;
CREATE INDEX usage_flushes_at ON usage_flushes (at);

-- The seconds of ten minutes of a key, moved here from usage_seconds. Rows of
-- usage that was written late have the same key and time: readers add them up.
CREATE TABLE usage_packed (
    key_id      text NOT NULL,
    at          timestamptz NOT NULL, -- a multiple of ten minutes
    route_group text NOT NULL,
    unit        bigint NOT NULL,
    second      smallint[] NOT NULL, -- since at; the other arrays have the same length
    succeeded   bigint[] NOT NULL,
    rejected    bigint[] NOT NULL,
    failed      bigint[] NOT NULL,
    refused     bigint[] NOT NULL,
    first_ms    smallint[] NOT NULL,
    span_ms     smallint[] NOT NULL -- from the first request of the second to the last
) PARTITION BY RANGE (at);
CREATE INDEX usage_packed_key ON usage_packed (key_id, at);
INSERT INTO partitioned_tables (name, span, life) VALUES ('usage_packed', 'day', '7 days');
SELECT create_partitions(now());
-- For the seconds that exist, which the server moves in the background.
-- +goose StatementBegin
DO $$
DECLARE
    first timestamptz;
BEGIN
    SET LOCAL timezone = 'UTC';
    FOR i IN 2..8 LOOP
        first := date_trunc('day', now()) - i * interval '1 day';
        -- The eighth day has expired: it is for rows that wait for being dropped.
        CONTINUE WHEN i = 8 AND NOT EXISTS (SELECT FROM usage_seconds WHERE at < first + interval '1 day');
        EXECUTE format('CREATE TABLE %I PARTITION OF usage_packed FOR VALUES FROM (%L) TO (%L)',
            'usage_packed_' || to_char(first, 'YYYYMMDD'), first, first + interval '1 day');
    END LOOP;
END $$;
-- +goose StatementEnd

-- The functions stay: the previous release can use them.
-- +goose Down
INSERT INTO usage_seconds AS old
SELECT key_id, at + s.second * interval '1 second', route_group, unit, sum(s.succeeded), sum(s.rejected), sum(s.failed), sum(s.refused),
    min(s.first_ms), max(s.first_ms + s.span_ms)
FROM usage_packed, unnest(second, succeeded, rejected, failed, refused, first_ms, span_ms)
    AS s (second, succeeded, rejected, failed, refused, first_ms, span_ms)
GROUP BY 1, 2, 3, 4
ON CONFLICT (key_id, at, route_group, unit) DO UPDATE SET
    succeeded = old.succeeded + excluded.succeeded, rejected = old.rejected + excluded.rejected,
    failed = old.failed + excluded.failed, refused = old.refused + excluded.refused,
    first_ms = LEAST(old.first_ms, excluded.first_ms), last_ms = GREATEST(old.last_ms, excluded.last_ms);
DELETE FROM partitioned_tables WHERE name = 'usage_packed';
DROP TABLE usage_packed;
ALTER TABLE usage_flushes RENAME TO applied_flushes;
ALTER INDEX usage_flushes_pkey RENAME TO applied_flushes_pkey;
CREATE TABLE usage_flushes (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
INSERT INTO partitioned_tables (name, span, life) VALUES ('usage_flushes', 'day', '1 day');
SELECT create_partitions(now());
INSERT INTO usage_flushes SELECT id, at FROM applied_flushes WHERE at >= now() - interval '1 day';
DROP TABLE applied_flushes;
