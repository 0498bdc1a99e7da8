-- +goose Up
-- For the sweeper, which looks for orders whose messages were lost.
ALTER TABLE orders ADD COLUMN resumed_at timestamptz; -- when its messages were published again; null: never
CREATE INDEX orders_unfinished ON orders (created_at)
    WHERE status = 'pending' OR status = 'cancelled' AND (stock = 'held' OR payment = 'authorized');
DROP INDEX orders_pending;

-- The query of the owner's waiting jobs was planned for each job, which took most of
-- its time. No other index than this fits "IS TRUE", and a sequential scan is off,
-- so that the plan is the same for a small table and for a large one.
DROP INDEX river_job_owner;
CREATE INDEX river_job_owner ON river_job ((args ->> 'owner')) WHERE (state = 'available') IS TRUE AND args ->> 'owner' IS NOT NULL;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION queue_priority() RETURNS trigger LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    IF (SELECT count(*) FROM (
        SELECT FROM river_job WHERE args ->> 'owner' = NEW.args ->> 'owner' AND (state = 'available') IS TRUE LIMIT 100) AS jobs) = 100 THEN
        NEW.priority := 4;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX river_job_owner;
CREATE INDEX river_job_owner ON river_job ((args ->> 'owner')) WHERE state = 'available' AND args ->> 'owner' IS NOT NULL;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION queue_priority() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF (SELECT count(*) FROM (
        SELECT FROM river_job WHERE args ->> 'owner' = NEW.args ->> 'owner' AND state = 'available' LIMIT 100) AS jobs) = 100 THEN
        NEW.priority := 4;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'pending';
DROP INDEX orders_unfinished;
ALTER TABLE orders DROP COLUMN resumed_at;
