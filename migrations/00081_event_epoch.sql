-- The epoch of positions in owners' feeds. order_events.feed is epoch * 2^48 + the
-- transaction's id. The epoch rises when the database's history changes: a restored
-- backup or a promoted standby assigns transaction ids again.
-- +goose Up
CREATE TABLE event_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 32767),
    history  text -- cluster, timeline and database in which the epoch began; null: not known yet
);
INSERT INTO event_epoch DEFAULT VALUES;

-- +goose Down
DROP TABLE event_epoch;
