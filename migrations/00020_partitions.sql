-- Tables partitioned by time, whose expired partitions are dropped. A row here
-- registers a table.
-- +goose Up
CREATE TABLE partitioned_tables (
    name text PRIMARY KEY,
    span text NOT NULL CHECK (span IN ('day', 'month', 'year')), -- of one partition
    life interval NOT NULL                                       -- of a row, at least
);

-- keep_partitions creates the partitions around a time (one span back for late
-- rows, and one ahead), drops the expired ones and returns their names. It gives
-- up early on locks, because it is called again.
-- +goose StatementBegin
CREATE FUNCTION keep_partitions(around timestamptz) RETURNS SETOF text
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
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = kept.name::regclass ORDER BY c.relname
        LOOP
            first := to_date(right(part, 8), 'YYYYMMDD');
            CONTINUE WHEN first + step + kept.life > around;
            EXECUTE format('DROP TABLE %I', part);
            RETURN NEXT part;
        END LOOP;
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION keep_partitions;
DROP TABLE partitioned_tables;
