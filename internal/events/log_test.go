package events

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
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

// current waits until n events of a feed can be read, and returns them.
func (f *fixture) current(s Stream, n int) (page models.EventPage) {
	f.t.Helper()
	f.await(func() bool { page = f.poll(s, ""); return len(page.Data) == n })
	return page
}

// awaitWatchers waits until n callers wait for events.
func (f *fixture) awaitWatchers(n int) {
	f.t.Helper()
	f.await(func() bool { return f.Stats().Watchers == n })
}

// await polls a condition until it holds.
func (f *fixture) await(holds func() bool) {
	f.t.Helper()
	testkit.Await(f.t, patience, "the condition holds", holds)
}

// patience is how long tests wait for what happens at once.
const patience = 20 * time.Second

// waiting is a call of Wait in the background.
type waiting chan waited

type waited struct {
	page models.EventPage
	err  error
}

func (f *fixture) wait(s Stream, q Query, timeout time.Duration) waiting {
	result := make(waiting, 1)
	go func() {
		page, err := f.Wait(f.t.Context(), s, q, timeout)
		result <- waited{page, err}
	}()
	return result
}

func TestLog_Wait(t *testing.T) {
	f := newFixture(t)
	order := f.order("o", "ord_1")
	t.Run("cursor at the end", func(t *testing.T) {
		empty := f.poll(order, "")
		if len(empty.Data) != 0 || empty.NextCursor == "" || f.poll(order, empty.NextCursor).NextCursor != empty.NextCursor {
			t.Errorf("got %+v", empty)
		}
	})
	t.Run("wakes", func(t *testing.T) {
		result := f.wait(order, Query{Limit: 10}, patience)
		f.awaitWatchers(1)
		f.append(order, nil, models.EventOrderPlaced)
		got := <-result
		if got.err != nil || len(got.page.Data) != 1 || got.page.Data[0].Type != models.EventOrderPlaced || got.page.Data[0].OrderID != "ord_1" || got.page.Data[0].Cursor != got.page.NextCursor {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("limit", func(t *testing.T) {
		f.append(order, nil, models.EventStockReserved, models.EventPaymentAuthorized, models.EventEmailSent)
		var types []models.EventType
		for after := ""; ; {
			page, err := f.Wait(t.Context(), order, Query{After: after, Limit: 2}, time.Millisecond)
			if err != nil || len(page.Data) > 2 {
				t.Fatalf("got %+v, %v", page, err)
			}
			if len(page.Data) == 0 {
				break
			}
			for _, e := range page.Data {
				types = append(types, e.Type)
			}
			after = page.NextCursor
		}
		if !slices.Equal(types, []models.EventType{models.EventOrderPlaced, models.EventStockReserved, models.EventPaymentAuthorized, models.EventEmailSent}) {
			t.Errorf("got %v", types)
		}
	})
	t.Run("types", func(t *testing.T) {
		for _, s := range []Stream{order, {Owner: "o"}} {
			f.current(Stream{Owner: "o"}, 4)
			page := f.poll(s, "", models.EventStockReserved)
			if len(page.Data) != 1 || page.Data[0].Seq != 2 {
				t.Errorf("got %+v", page)
			}
			if rest := f.poll(s, page.NextCursor); len(rest.Data) != 0 {
				t.Errorf("the events that were skipped are read again: got %+v", rest)
			}
		}
	})
	t.Run("another owner's order", func(t *testing.T) {
		for _, timeout := range []time.Duration{0, patience} {
			if _, err := f.Wait(t.Context(), Stream{Owner: "p", Order: order.Order}, Query{Limit: 1}, timeout); !errors.Is(err, models.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("ends with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := f.Wait(ctx, order, Query{After: f.poll(order, "").NextCursor, Limit: 1}, patience)
			result <- err
		}()
		f.awaitWatchers(1)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		f.awaitWatchers(0)
	})
}

// A thousand watchers of an order share one query for each event.
func TestLog_shares_reads(t *testing.T) {
	f := newFixture(t)
	order := f.order("o", "ord_1")
	types := models.AllEventTypes()
	var received sync.WaitGroup // of the next event by all
	const watchers = 1000
	received.Add(watchers)
	for range watchers {
		go func() {
			after := ""
			for i := range types {
				page, err := f.Wait(t.Context(), order, Query{After: after, Limit: 10}, patience)
				if err != nil || len(page.Data) != 1 || page.Data[0].Type != types[i] {
					t.Errorf("event %d: got %+v, %v", i+1, page, err)
				}
				after = page.NextCursor
				received.Done()
			}
		}()
	}
	f.awaitWatchers(watchers)
	for i, typ := range types {
		f.append(order, nil, typ)
		received.Wait()
		if i+1 < len(types) {
			received.Add(watchers)
			f.awaitWatchers(watchers)
		}
	}
	if got, want := f.Stats().Reads, int64(1+len(types)); got != want {
		t.Errorf("got %d queries for %d events; want one when the first began to wait, and one for each event", got, len(types))
	}
}

// A long transaction holds up feeds, is named, and doesn't hold up the streams of
// orders.
func TestLog_feed_held_up(t *testing.T) {
	f := newFixture(t)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Stop(t.Context()) }()
	order, feed := f.order("o", "ord_1"), Stream{Owner: "o"}
	long, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Rollback(context.Background()) }()
	if _, err := long.Exec(t.Context(), `SELECT set_config('application_name', 'nightly'||chr(10)||'report', true), pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	ofFeed, ofOrder := f.wait(feed, Query{Limit: 1}, patience), f.wait(order, Query{Limit: 1}, patience)
	f.awaitWatchers(2)
	f.append(order, nil, models.EventOrderPlaced)
	if got := <-ofOrder; got.err != nil || len(got.page.Data) != 1 {
		t.Errorf("order: got %+v", got)
	}
	observed := lag{log: slog.New(slog.DiscardHandler)}
	f.await(func() bool { // until older transactions of other tests have ended
		if err := observed.observe(t.Context(), f.db); err != nil {
			t.Fatal(err)
		}
		b := observed.blocker.Load()
		return b != nil && b.PID == int(long.Conn().PgConn().PID())
	})
	if b := observed.blocker.Load(); b.Application != "nightly?report" || b.Age <= 0 {
		t.Errorf("got %+v", b)
	}
	if page := f.poll(feed, ""); len(page.Data) != 0 {
		t.Errorf("the feed isn't held up: got %+v", page)
	}
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-ofFeed; got.err != nil || len(got.page.Data) != 1 {
		t.Errorf("feed: got %+v", got)
	}
}

// Events that are held up wake their readers as soon as they can be read.
func TestLog_release(t *testing.T) {
	f := newFixture(t) // isn't started: nothing else wakes
	order := f.order("o", "ord_1")
	long, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Rollback(context.Background()) }()
	if _, err := long.Exec(t.Context(), `SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	result := f.wait(Stream{Owner: "o"}, Query{Limit: 1}, patience)
	f.awaitWatchers(1)
	f.append(order, nil, models.EventOrderPlaced)
	f.await(func() bool { return f.hub.all()[0].held.Load() != 0 })
	if released, held := f.release(t.Context()); released || !held {
		t.Errorf("during the transaction: released %t, held %t", released, held)
	}
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await(func() bool { released, _ := f.release(t.Context()); return released })
	if got := <-result; got.err != nil || len(got.page.Data) != 1 {
		t.Errorf("got %+v", got)
	}
}
