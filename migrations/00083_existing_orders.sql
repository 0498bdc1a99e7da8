-- Orders of earlier releases, which had neither events nor workers: pending ones
-- that are younger than a day get the messages that process them, older ones
-- expire, and all get their events. The statements find them by their missing
-- events. An instance of an earlier release may still place orders: those that the
-- statements don't see are left to the sweeper.
-- +goose Up
UPDATE orders o SET status = 'cancelled', reason = 'expired', updated_at = now()
WHERE status = 'pending' AND created_at < now() - interval '24 hours' AND NOT EXISTS (SELECT FROM order_events WHERE order_id = o.id);

-- As queue.Publish does it, for the groups of order.placed.
INSERT INTO river_job (state, queue, kind, args, max_attempts, priority, scheduled_at)
SELECT 'available', queue, 'delivery', jsonb_build_object(
        'id', 'msg_upgrade_' || id, 'topic', 'order.placed', 'key', id, 'owner', owner, 'version', 1,
        'payload', jsonb_build_object('order_id', id), 'published_at', now(), 'attempt', 0),
    32767, 2, now()
FROM orders o, unnest(ARRAY['inventory', 'payment']) AS queue
WHERE status = 'pending' AND NOT EXISTS (SELECT FROM order_events WHERE order_id = o.id)
ORDER BY created_at;

INSERT INTO order_events (order_id, owner, seq, type, data, at, feed)
SELECT id, owner, seq, type, data, at, pg_current_xact_id()::text::bigint
FROM orders o, LATERAL (VALUES
    (1, 'order.placed', jsonb_build_object('amount', jsonb_build_object('amount', total_amount, 'currency', total_currency)), created_at),
    (2, 'order.' || status, jsonb_strip_nulls(jsonb_build_object('reason', reason)), updated_at)) AS event (seq, type, data, at)
WHERE (seq = 1 OR status <> 'pending') AND NOT EXISTS (SELECT FROM order_events WHERE order_id = o.id);

-- +goose Down
SELECT; -- the events go with their table
