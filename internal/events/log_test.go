package events

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// fixture is a log on a database of its own.
type fixture struct {
	*Log
	t  testing.TB
	db *pgxpool.Pool
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return fixtureOn(t, testkit.Database(t))
}

func fixtureOn(t testing.TB, db *pgxpool.Pool) *fixture {
	t.Helper()
	snapshot := func(_ context.Context, owner, id string) (models.Order, error) {
		return models.Order{ID: id, Owner: owner}, nil
	}
	return &fixture{NewLog(db, NewHub(nil), Config{slog.New(slog.DiscardHandler), []byte("secret"), snapshot}), t, db}
}

func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.db.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

// order stores an order without events.
func (f *fixture) order(owner, id string) Stream {
	f.t.Helper()
	f.exec(`INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency) VALUES ($1, $2, 'a@example.com', 't', 1, 'EUR')`, id, owner)
	return Stream{Owner: owner, Order: id}
}

// append appends events to an order in a transaction, which also runs then.
func (f *fixture) append(s Stream, then func(pgx.Tx), types ...models.EventType) {
	f.t.Helper()
	err := postgres.InTx(f.t.Context(), f.db, func(tx pgx.Tx) error {
		if err := f.appendIn(f.t.Context(), tx, s, types...); err != nil {
			return err
		}
		if then != nil {
			then(tx)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// appendIn locks an order and appends events to it in tx.
func (f *fixture) appendIn(ctx context.Context, tx pgx.Tx, s Stream, types ...models.EventType) error {
	if _, err := tx.Exec(ctx, `UPDATE orders SET updated_at = clock_timestamp() WHERE id = $1`, s.Order); err != nil {
		return err
	}
	list := make([]New, len(types))
	for i, t := range types {
		list[i].Type = t
	}
	batch := &pgx.Batch{}
	Append(batch, s.Order, s.Owner, list...)
	f.hub.WakeAfter(tx, s.Owner, s.Order)
	return tx.SendBatch(ctx, batch).Close()
}

// poll returns the events after a cursor without waiting.
func (f *fixture) poll(s Stream, after string, types ...models.EventType) models.EventPage {
	f.t.Helper()
	page, err := f.Wait(f.t.Context(), s, Query{After: after, Types: types, Limit: 100}, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return page
}

// patience is how long tests wait for what happens at once.
const patience = 20 * time.Second

func TestLog_Wait(t *testing.T) {
	f := newFixture(t)
	order := f.order("o", "ord_1")
	for _, s := range []Stream{order, {Owner: "o"}} {
		empty := f.poll(s, "")
		if len(empty.Data) != 0 || empty.NextCursor == "" {
			t.Fatalf("got %+v", empty)
		}
	}
	type result struct {
		page models.EventPage
		err  error
	}
	for _, s := range []Stream{order, {Owner: "o"}} {
		start := f.poll(s, "")
		last := start.NextCursor
		if n := len(start.Data); n > 0 {
			last = start.Data[n-1].Cursor
		}
		if last != start.NextCursor {
			t.Errorf("next_cursor isn't the cursor of the last event")
		}
		got := make(chan result, 1)
		go func() {
			page, err := f.Wait(t.Context(), s, Query{After: last, Limit: 10}, patience)
			got <- result{page, err}
		}()
		f.append(order, nil, models.EventStockReserved)
		r := <-got
		if r.err != nil || len(r.page.Data) != 1 || r.page.Data[0].Type != models.EventStockReserved || r.page.Data[0].OrderID != "ord_1" {
			t.Errorf("got %+v, %v", r.page, r.err)
		}
	}
}
