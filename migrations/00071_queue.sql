-- The message queue's own tables. Messages that wait are jobs of River, whose
-- tables are created by River's migrations, which run before this file.
-- +goose Up
CREATE TABLE queue_inbox (
    message text COLLATE "C" NOT NULL,
    "group" text COLLATE "C" NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(), -- rows are deleted some days after
    PRIMARY KEY (message, "group")
);
CREATE INDEX queue_inbox_done_at ON queue_inbox (done_at); -- not BRIN: rows go where older ones were deleted

CREATE TABLE dead_letters (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "group"  text NOT NULL,
    topic    text NOT NULL, -- '': the message couldn't be decoded
    message  jsonb NOT NULL, -- the whole message, as a job has it
    reason   text NOT NULL, -- the last error
    attempts integer NOT NULL,
    dead_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_by_time ON dead_letters (dead_at, id);
CREATE INDEX dead_letters_by_group ON dead_letters ("group", topic);

CREATE TABLE queue_pauses (
    "group"   text PRIMARY KEY,
    paused_at timestamptz NOT NULL DEFAULT now()
);

-- For the priority of a message, which depends on how many of its owner wait.
CREATE INDEX river_job_owner ON river_job ((args ->> 'owner')) WHERE state = 'available' AND args ->> 'owner' IS NOT NULL;
-- Nothing searches in the arguments, and an index of every word in them costs
-- more than the rest of an insert.
DROP INDEX river_job_args_index;

-- +goose Down
CREATE INDEX river_job_args_index ON river_job USING gin (args);
DROP INDEX river_job_owner;
DROP TABLE queue_pauses;
DROP TABLE dead_letters;
DROP TABLE queue_inbox;
