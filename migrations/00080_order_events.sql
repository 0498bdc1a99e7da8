-- The progress of orders beyond their status, and the log of their changes.
-- +goose Up
ALTER TABLE orders
    ADD COLUMN stock text NOT NULL DEFAULT 'none' CHECK (stock IN ('none', 'held', 'rejected', 'released')),
    ADD COLUMN payment text NOT NULL DEFAULT 'none'
        CHECK (payment IN ('none', 'authorized', 'declined', 'capturing', 'captured', 'voided')),
    ADD COLUMN authorization_id text; -- of the gateway's last answer; null: none yet
CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'pending';

-- Every change of an order appends its events in the transaction of the change,
-- while it holds the lock of the order's row.
CREATE TABLE order_events (
    order_id text COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seq      bigint NOT NULL CHECK (seq > 0), -- per order from 1, without gaps
    owner    text NOT NULL,
    type     text NOT NULL,
    data     jsonb NOT NULL,
    at       timestamptz NOT NULL,
    -- The position in the owner's feed: the transaction's id, or that of the order's
    -- previous event if it is higher, so that an order's events keep their order.
    feed     bigint NOT NULL,
    PRIMARY KEY (order_id, seq)
);
CREATE INDEX order_events_feed ON order_events (owner, feed, order_id, seq);

-- +goose Down
DROP TABLE order_events;
DROP INDEX orders_pending;
ALTER TABLE orders DROP COLUMN stock, DROP COLUMN payment, DROP COLUMN authorization_id;
