-- Usage of each key: by second for simulations, and rolled up for history. One
-- statement writes seconds and roll-ups, so that they agree.
-- +goose Up
CREATE TABLE usage_seconds (
    key_id    text NOT NULL,
    at        timestamptz NOT NULL, -- the second
    route_group text NOT NULL,
    unit      bigint NOT NULL,      -- what each of the requests cost
    succeeded bigint NOT NULL,      -- admitted; ended below 400
    rejected  bigint NOT NULL,      -- admitted; ended with a 4xx
    failed    bigint NOT NULL,      -- admitted; ended with a 5xx, and cost nothing
    refused   bigint NOT NULL,      -- not admitted
    first_ms  smallint NOT NULL,    -- when in the second the first of them came,
    last_ms   smallint NOT NULL,    -- and the last
    PRIMARY KEY (key_id, at, route_group, unit)
) PARTITION BY RANGE (at);

CREATE TABLE usage_minutes (
    key_id   text NOT NULL,
    at       timestamptz NOT NULL,
    route_group text NOT NULL,
    requests bigint NOT NULL,
    refused  bigint NOT NULL,
    cost     bigint NOT NULL, -- units charged
    PRIMARY KEY (key_id, at, route_group)
) PARTITION BY RANGE (at);
CREATE TABLE usage_hours (LIKE usage_minutes INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE usage_days (LIKE usage_minutes INCLUDING ALL) PARTITION BY RANGE (at);

-- Refusals by policy, including those of shadow policies.
CREATE TABLE usage_policies (
    key_id  text NOT NULL,
    at      timestamptz NOT NULL, -- the minute
    route_group text NOT NULL,
    policy  text NOT NULL,
    shadow  boolean NOT NULL,
    refused bigint NOT NULL,
    PRIMARY KEY (key_id, at, route_group, policy, shadow)
) PARTITION BY RANGE (at);

CREATE TABLE refusals (
    key_id     text NOT NULL,
    at         timestamptz NOT NULL,
    id         text NOT NULL,
    request_id text NOT NULL,
    route      text NOT NULL,
    violated   text[] NOT NULL, -- the enforced policies that refused
    limits     jsonb NOT NULL,  -- every policy that applied, as it stood then
    PRIMARY KEY (key_id, at, id)
) PARTITION BY RANGE (at);

-- The applied batches. A batch that is sent again is not applied again.
CREATE TABLE usage_flushes (
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);

INSERT INTO partitioned_tables (name, span, life) VALUES
('usage_seconds', 'day', '7 days'),
('usage_minutes', 'month', '31 days'),
('usage_hours', 'year', '400 days'),
('usage_days', 'year', '1826 days'),
('usage_policies', 'month', '31 days'),
('refusals', 'day', '7 days'),
('usage_flushes', 'day', '1 day');
SELECT keep_partitions(now());

-- +goose Down
DELETE FROM partitioned_tables WHERE name IN
('usage_seconds', 'usage_minutes', 'usage_hours', 'usage_days', 'usage_policies', 'refusals', 'usage_flushes');
DROP TABLE usage_flushes, refusals, usage_policies, usage_days, usage_hours, usage_minutes, usage_seconds;
