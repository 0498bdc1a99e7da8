-- Partitions are created apart from dropping expired ones, so that a write that
-- misses a partition drops nothing. The ids of applied batches get the database's
-- time and are no longer partitioned, so that a machine with a wrong clock can
-- write usage.
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

-- The functions stay: the previous release can use them.
-- +goose Down
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
