package devgateway

// schema creates the state of the gateway.
const schema = `
CREATE SCHEMA IF NOT EXISTS dev_gateway;
CREATE TABLE dev_gateway.orders (
    id        text COLLATE "C" PRIMARY KEY,
    failures  bigint NOT NULL DEFAULT 0,      -- simulated so far
    recovered boolean NOT NULL DEFAULT false, -- tok_down works
    voided    boolean NOT NULL DEFAULT false, -- authorizations are refused
    slow      boolean NOT NULL DEFAULT false  -- tok_slow
);
CREATE TABLE dev_gateway.authorizations (
    id       text COLLATE "C" PRIMARY KEY,
    order_id text COLLATE "C" NOT NULL REFERENCES dev_gateway.orders,
    status   text NOT NULL CHECK (status IN ('authorized', 'declined', 'captured', 'voided')),
    amount   bigint NOT NULL,
    currency text NOT NULL
);
CREATE INDEX authorizations_order_id ON dev_gateway.authorizations (order_id);
-- What happened to money: rows are only added.
CREATE TABLE dev_gateway.ledger (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text COLLATE "C" NOT NULL UNIQUE,
    order_id text COLLATE "C" NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('authorization', 'capture', 'void')),
    amount   bigint NOT NULL,
    currency text NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE dev_gateway.requests (
    key      text COLLATE "C" PRIMARY KEY, -- Idempotency-Key
    request  bytea NOT NULL,               -- SHA-256 of the operation and its body
    response text                          -- null while the request is in progress
);`
