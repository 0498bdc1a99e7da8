-- Running instances, by heartbeat. They share the counters of the limiter.
-- +goose Up
CREATE UNLOGGED TABLE instances ( -- a crash of the database forgets heartbeats, which come again
    id      text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE instances;
