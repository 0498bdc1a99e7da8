// Package events is the log of what happened to orders.
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
// that the numbers have no gaps and the log has the order of the changes. Before
// them it appends order.placed, if the order has no events.
func Append(batch *pgx.Batch, orderID, owner string, list ...New) {
	types, data := make([]string, len(list)), make([]models.EventData, len(list))
	for i, e := range list {
		types[i], data[i] = string(e.Type), e.Data
	}
	if len(list) > 0 && list[0].Type == models.EventOrderPlaced {
		batch.Queue(firstQuery, orderID, owner, types, data)
		return
	}
	batch.Queue(appendQuery, orderID, owner, types, data, models.EventOrderPlaced)
}

// firstQuery appends the events of a new order.
const firstQuery = `
	INSERT INTO order_events (order_id, owner, seq, type, data, at, feed)
	SELECT $1, $2, n, type, data, clock_timestamp(), pg_current_xact_id()::text::bigint
	FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS new (type, data, n)`

// appendQuery numbers the events after the order's last one. Their position in the
// owner's feed isn't before that of the last one, although this transaction may be
// older than the one that wrote it.
//
// The first event of an order is always that it was placed: it is added if it is
// missing, because an instance of the previous release stored the order.
const appendQuery = `
	WITH last AS (SELECT seq, feed FROM order_events WHERE order_id = $1 ORDER BY seq DESC LIMIT 1),
	new AS (
		SELECT n, type, data, clock_timestamp() AS at FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS new (type, data, n)
		UNION ALL
		SELECT 0, $5, jsonb_build_object('amount', jsonb_build_object('amount', total_amount, 'currency', total_currency)), created_at
		FROM orders WHERE id = $1 AND NOT EXISTS (SELECT FROM last))
	INSERT INTO order_events (order_id, owner, seq, type, data, at, feed)
	SELECT $1, $2, COALESCE((SELECT seq FROM last), 0) + row_number() OVER (ORDER BY n), type, data, at,
		GREATEST(pg_current_xact_id()::text::bigint, (SELECT feed FROM last))
	FROM new`
