-- Usage by second is appended here, and rolled up when it is packed. So a row of
-- usage_minutes, usage_hours and usage_days has what was packed, and a row of this
-- table is in none of them yet: readers of the history add the rows here. A second
-- can have several rows. usage_seconds has rows of the previous release, which are
-- rolled up already: for simulations, until their partitions are dropped.
-- +goose Up
CREATE TABLE usage_recent (
    key_id      text NOT NULL,
    at          timestamptz NOT NULL, -- the second
    route_group text NOT NULL,
    unit        bigint NOT NULL,      -- cost of each of the requests
    succeeded   integer NOT NULL,     -- admitted; ended below 400
    rejected    integer NOT NULL,     -- admitted; ended with a 4xx
    failed      integer NOT NULL,     -- admitted; ended with a 5xx, and cost nothing
    refused     integer NOT NULL,     -- not admitted
    first_ms    smallint NOT NULL,    -- arrival of the first of them in the second,
    last_ms     smallint NOT NULL     -- and of the last
);
CREATE INDEX usage_recent_key ON usage_recent (key_id, at);

-- +goose Down
INSERT INTO usage_minutes AS old
SELECT key_id, date_bin('1 minute', at, '2000-01-01T00:00:00Z'), route_group,
    sum(succeeded + rejected + failed + refused), sum(refused), sum((succeeded + rejected) * unit)
FROM usage_recent GROUP BY 1, 2, 3
ON CONFLICT (key_id, at, route_group) DO UPDATE SET
    requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost;
INSERT INTO usage_hours AS old
SELECT key_id, date_bin('1 hour', at, '2000-01-01T00:00:00Z'), route_group,
    sum(succeeded + rejected + failed + refused), sum(refused), sum((succeeded + rejected) * unit)
FROM usage_recent GROUP BY 1, 2, 3
ON CONFLICT (key_id, at, route_group) DO UPDATE SET
    requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost;
INSERT INTO usage_days AS old
SELECT key_id, date_bin('1 day', at, '2000-01-01T00:00:00Z'), route_group,
    sum(succeeded + rejected + failed + refused), sum(refused), sum((succeeded + rejected) * unit)
FROM usage_recent GROUP BY 1, 2, 3
ON CONFLICT (key_id, at, route_group) DO UPDATE SET
    requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost;
INSERT INTO usage_seconds AS old
SELECT key_id, at, route_group, unit, sum(succeeded), sum(rejected), sum(failed), sum(refused), min(first_ms), max(last_ms)
FROM usage_recent GROUP BY 1, 2, 3, 4
ON CONFLICT (key_id, at, route_group, unit) DO UPDATE SET
    succeeded = old.succeeded + excluded.succeeded, rejected = old.rejected + excluded.rejected,
    failed = old.failed + excluded.failed, refused = old.refused + excluded.refused,
    first_ms = LEAST(old.first_ms, excluded.first_ms), last_ms = GREATEST(old.last_ms, excluded.last_ms);
DROP TABLE usage_recent;
