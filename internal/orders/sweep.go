package orders

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/events"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

const (
	// SweepInterval is a suitable interval between sweeps. One reads all messages that
	// wait: a second for 300,000.
	SweepInterval = 5 * time.Minute
	// SweepBatch is the most orders that one call of Sweep resumes.
	SweepBatch = 200
	// unfinishedAfter is how long an order may be unfinished before it is resumed. It
	// is longer than retries wait.
	unfinishedAfter = 10 * time.Minute
)

// unfinished is an order whose messages were lost.
type unfinished struct {
	ID       string
	Owner    string
	Progress models.Progress
}

// Sweep publishes the messages that finish orders which have been unfinished for
// minutes and have neither a waiting message nor a dead letter: a broker lost the
// message, or an instance of the previous release stored the order. It resumes
// up to SweepBatch orders, the oldest first, and returns their number. An order is
// resumed again after some minutes, and by one of several sweeps at the same time.
// Errors: models.ErrUnavailable.
func (s *Store) Sweep(ctx context.Context) (n int, err error) {
	var list []unfinished
	err = postgres.InBatches(ctx, s.db, func(batch *pgx.Batch) {
		// The messages and dead letters are read once, whatever their number is
		// estimated to be.
		batch.Queue(`SELECT set_config('enable_nestloop', 'off', true)`)
		batch.Queue(findUnfinished, unfinishedAfter, SweepBatch).Query(func(rows pgx.Rows) (err error) {
			list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (u unfinished, err error) {
				err = row.Scan(&u.ID, &u.Owner, &u.Progress.Status, &u.Progress.Stock, &u.Progress.Payment)
				return u, err
			})
			return err
		})
	}, func(tx pgx.Tx, batch, after *pgx.Batch) error {
		var ids []string
		var again []*queue.Message
		for _, u := range list {
			ids = append(ids, u.ID)
			events.Append(batch, u.ID, u.Owner) // order.placed, if it is missing
			for _, topic := range u.Progress.Resume() {
				again = append(again, newMessage(topic, models.Order{ID: u.ID, Owner: u.Owner}))
			}
		}
		batch.Queue(`UPDATE orders SET resumed_at = now() WHERE id = ANY ($1)`, ids)
		return s.queue.PublishBatch(ctx, tx, batch, after, again...)
	})
	return len(list), postgres.Classify("resume orders", err)
}

// findUnfinished locks the orders that Progress.Resume has topics for, by its rules,
// except those that are being changed.
const findUnfinished = `
	SELECT o.id, o.owner, o.status, o.stock, o.payment
	FROM orders o
	WHERE (o.status = 'pending' OR o.status = 'cancelled' AND (o.stock = 'held' OR o.payment = 'authorized'))
		AND o.created_at < now() - $1::interval AND GREATEST(o.updated_at, o.resumed_at) < now() - $1::interval
		AND NOT EXISTS (SELECT FROM river_job WHERE state <> 'completed' AND args ->> 'key' = o.id)
		AND NOT EXISTS (SELECT FROM dead_letters WHERE message ->> 'key' = o.id)
	ORDER BY o.created_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED`
