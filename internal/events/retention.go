package events

import (
	"context"
	"time"

	"ratelimiter/internal/postgres"
)

// Retention is how long the events of an order are kept after it has ended and its
// last event: a client can be away for a month.
const Retention = 30 * 24 * time.Hour

// PruneInterval is a suitable interval between calls of Prune.
const PruneInterval = time.Minute

// pruneBatch is of how many orders one statement deletes the events, some ten of
// each; it takes milliseconds.
const pruneBatch = 100

// pruneQuery deletes all events of the oldest orders that may be forgotten, and keeps
// what is needed to number later events of theirs and to recognize expired cursors.
// It skips orders that are being changed: their lock excludes new events.
const pruneQuery = `
	WITH old AS (
		SELECT o.id FROM order_events e JOIN orders o ON o.id = e.order_id
		WHERE e.seq = 1 AND e.at <= $1 AND o.status <> 'pending' AND o.updated_at <= $1
		ORDER BY e.at LIMIT $2 FOR UPDATE OF o SKIP LOCKED
	), gone AS (
		DELETE FROM order_events WHERE order_id IN (SELECT id FROM old) RETURNING owner, feed, order_id, seq
	), numbered AS (
		UPDATE orders SET events_deleted = last.seq
		FROM (SELECT order_id, max(seq) AS seq FROM gone GROUP BY order_id) last WHERE id = last.order_id
	), started AS (
		INSERT INTO event_feed_starts AS s
		SELECT DISTINCT ON (owner) owner, feed, order_id, seq FROM gone ORDER BY owner, feed DESC, order_id DESC, seq DESC
		ON CONFLICT (owner) DO UPDATE SET feed = excluded.feed, order_id = excluded.order_id, seq = excluded.seq
			WHERE (s.feed, s.order_id, s.seq) < (excluded.feed, excluded.order_id, excluded.seq)
	)
	SELECT count(*) FROM old`

// Prune deletes the events of a batch of orders that ended long ago, as of now, and
// reports whether there may be more. Errors: models.ErrUnavailable.
func (l *Log) Prune(ctx context.Context, now time.Time) (more bool, err error) {
	var pruned int
	err = l.db.QueryRow(ctx, pruneQuery, now.Add(-Retention), pruneBatch).Scan(&pruned)
	return pruned == pruneBatch, postgres.Classify("delete old events", err)
}
