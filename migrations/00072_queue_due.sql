-- River looks every five seconds for delayed jobs whose time has come. Without an
-- index that begins with the time, it reads all delayed jobs.
-- +goose Up
CREATE INDEX river_job_due ON river_job (scheduled_at) WHERE state IN ('retryable', 'scheduled');

-- +goose Down
DROP INDEX river_job_due;
