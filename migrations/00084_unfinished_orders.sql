-- For the sweeper, which looks for orders whose messages were lost.
-- +goose Up
ALTER TABLE orders ADD COLUMN resumed_at timestamptz; -- when its messages were published again; null: never
CREATE INDEX orders_unfinished ON orders (created_at)
    WHERE status = 'pending' OR status = 'cancelled' AND (stock = 'held' OR payment = 'authorized');
DROP INDEX orders_pending;

-- +goose Down
CREATE INDEX orders_pending ON orders (created_at) WHERE status = 'pending';
DROP INDEX orders_unfinished;
ALTER TABLE orders DROP COLUMN resumed_at;
