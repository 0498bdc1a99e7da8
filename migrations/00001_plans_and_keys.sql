-- Plans and API keys, which the quota cache reads.
-- +goose Up
CREATE TABLE plans (
    name        text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    description text NOT NULL DEFAULT '',
    policies    jsonb NOT NULL CHECK (jsonb_typeof(policies) = 'array'),
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id             text PRIMARY KEY,
    name           text NOT NULL,
    plan           text NOT NULL REFERENCES plans (name),
    owner          text NOT NULL,
    subject        text NOT NULL,
    scopes         text[] NOT NULL,
    overrides      jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(overrides) = 'array'),
    ip_allow       cidr[] NOT NULL DEFAULT '{}',
    metadata       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    mac            bytea NOT NULL CHECK (length(mac) = 32), -- HMAC-SHA256(pepper, key)
    pepper_version text NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz
);
CREATE INDEX api_keys_list ON api_keys (created_at DESC, id DESC);
CREATE INDEX api_keys_owner ON api_keys (owner);
CREATE INDEX api_keys_plan ON api_keys (plan);

INSERT INTO plans (name, description, policies) VALUES
('free', 'For trying things out.', '[
    {"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","burst":20},
    {"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"},
    {"name":"monthly","algorithm":"calendar","limit":10000,"period":"month","time_zone":"Europe/Berlin","anchor_day":15}
]'),
('pro', 'Ten times the free plan.', '[
    {"name":"burst","algorithm":"token_bucket","limit":100,"period":"1s","burst":200},
    {"name":"minute","algorithm":"sliding_window","limit":3000,"period":"1m"},
    {"name":"monthly","algorithm":"calendar","limit":100000,"period":"month","time_zone":"Europe/Berlin","anchor_day":15}
]'),
('internal', 'No limits: for operators and the house''s own services.', '[]');

-- +goose Down
DROP TABLE api_keys;
DROP TABLE plans;
