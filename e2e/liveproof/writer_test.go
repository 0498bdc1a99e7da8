package liveproof

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/events"
	"ratelimiter/models"
)

// write changes orders by several writers until ctx ends. Events are appended as the
// product does; their servers are notified as by another instance.
func (s *shop) write(ctx context.Context) {
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for ctx.Err() == nil {
				s.change()
				pause(ctx, rand.N(30*time.Millisecond))
			}
		})
	}
	writers.Wait()
}

// change changes one or two orders in a transaction that takes its id early or late,
// and ends soon or late, with a commit or a rollback.
func (s *shop) change() {
	ctx := context.Background()
	tx, err := s.db.Begin(ctx)
	if err != nil {
		s.t.Error(err)
		return
	}
	if rand.N(2) == 0 {
		_, _ = tx.Exec(ctx, `SELECT pg_current_xact_id()`)
		time.Sleep(rand.N(10 * time.Millisecond))
	}
	first := rand.N(len(s.orders))
	changed := s.orders[first : first+1]
	if rand.N(3) == 0 && first+1 < len(s.orders) { // in this order: no deadlock
		changed = s.orders[first : first+2]
	}
	for _, order := range changed {
		if err := appendEvent(ctx, tx, order); err != nil {
			s.t.Error(err)
		}
		time.Sleep(rand.N(5 * time.Millisecond))
	}
	if rand.N(5) == 0 {
		_ = tx.Rollback(ctx)
		return
	}
	if err := tx.Commit(ctx); err != nil {
		s.t.Error(err)
	}
}

// appendEvent appends an event to an order in tx, and notifies at its commit.
func appendEvent(ctx context.Context, tx pgx.Tx, order models.EventStream) error {
	return appendEvents(ctx, tx, order, 1)
}

// appendEvents appends n events to an order in tx, and notifies at its commit.
func appendEvents(ctx context.Context, tx pgx.Tx, order models.EventStream, n int) error {
	if _, err := tx.Exec(ctx, `SELECT FROM orders WHERE id = $1 FOR UPDATE`, order.Order); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	events.Append(batch, order.Order, order.Owner, slices.Repeat([]events.New{{Type: models.EventStockReserved}}, n)...)
	batch.Queue(`SELECT pg_notify('ratelimiter_events', 'another instance' || E'\n' || $1 || E'\t' || $2)`, order.Owner, order.Order)
	return tx.SendBatch(ctx, batch).Close()
}

// pause waits for some time or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
