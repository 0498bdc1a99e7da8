-- +goose Up
-- River looks every five seconds for delayed jobs whose time has come. Without an
-- index that begins with the time, it reads all delayed jobs.
CREATE INDEX river_job_due ON river_job (scheduled_at) WHERE state IN ('retryable', 'scheduled');

-- New messages (attempt 0) of an owner with 100 waiting jobs get a lower priority,
-- so that they don't delay those of other owners. The query is planned each time: a
-- plan that was made while the table was small would read all available jobs.
-- +goose StatementBegin
CREATE FUNCTION queue_priority() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF (SELECT count(*) FROM (
        SELECT FROM river_job WHERE args ->> 'owner' = NEW.args ->> 'owner' AND state = 'available' LIMIT 100) AS jobs) = 100 THEN
        NEW.priority := 4;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER queue_priority BEFORE INSERT ON river_job FOR EACH ROW
    WHEN (NEW.state = 'available' AND NEW.args ->> 'owner' IS NOT NULL AND NEW.args ->> 'attempt' = '0')
    EXECUTE FUNCTION queue_priority();

-- +goose Down
DROP TRIGGER queue_priority ON river_job;
DROP FUNCTION queue_priority;
DROP INDEX river_job_due;
