-- What is left of the events of orders that ended long ago.
-- +goose Up
ALTER TABLE orders ADD COLUMN events_deleted bigint NOT NULL DEFAULT 0; -- events 1 to this number were deleted
CREATE INDEX order_events_first ON order_events (at) WHERE seq = 1; -- finds the oldest orders

-- Position of the last deleted event in an owner's feed.
CREATE TABLE event_feed_starts (
    owner    text PRIMARY KEY,
    feed     bigint NOT NULL,
    order_id text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL
);

-- +goose Down
DROP TABLE event_feed_starts;
DROP INDEX order_events_first;
ALTER TABLE orders DROP COLUMN events_deleted;
