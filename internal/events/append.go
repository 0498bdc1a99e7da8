// Package events is the log of what happened to orders, and waits for what happens
// next.
package events

import (
	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// New is an event to append.
type New struct {
	Type models.EventType
	Data models.EventData
}

// Append adds a statement to the batch that appends events to an order's log. The
// batch must be sent in a transaction that holds the lock of the order's row, so
// that the numbers have no gaps and the log has the order of the changes. The
// transaction then calls Hub.WakeAfter.
func Append(batch *pgx.Batch, orderID, owner string, list ...New) {
	types, data := make([]string, len(list)), make([]models.EventData, len(list))
	for i, e := range list {
		types[i], data[i] = string(e.Type), e.Data
	}
	batch.Queue(appendQuery, orderID, owner, types, data)
}

// appendQuery numbers the events after the order's last one. Their position in the
// owner's feed isn't before that of the last one, although this transaction may be
// older than the one that wrote it.
const appendQuery = `
	INSERT INTO order_events (order_id, owner, seq, type, data, at, feed)
	SELECT $1, $2, COALESCE(last.seq, (SELECT events_deleted FROM orders WHERE id = $1), 0) + new.n, new.type, new.data, clock_timestamp(),
		GREATEST((e.epoch << 48) + pg_current_xact_id()::text::bigint, last.feed)
	FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS new (type, data, n)
	CROSS JOIN event_epoch e
	LEFT JOIN LATERAL (SELECT seq, feed FROM order_events WHERE order_id = $1 ORDER BY seq DESC LIMIT 1) AS last ON true`
