package events

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/models"
)

// wantExpired returns the error of an expired cursor, or fails.
func (f *fixture) wantExpired(s Stream, after string) *models.CursorExpiredError {
	f.t.Helper()
	page, err := f.Wait(f.t.Context(), s, Query{After: after, Limit: 10}, 0)
	expired, ok := errors.AsType[*models.CursorExpiredError](err)
	if !ok {
		f.t.Fatalf("%v after %q: got %+v, %v; want an expired cursor", s, after, page, err)
	}
	if got := f.poll(s, expired.NextCursor); len(got.Data) != 0 {
		f.t.Errorf("after next_cursor: got %+v", got)
	}
	return expired
}

func TestLog_Prune(t *testing.T) {
	f := newFixture(t)
	ended, pending, recent, other := f.order("o", "ord_ended"), f.order("o", "ord_pending"), f.order("o", "ord_recent"), f.order("other", "ord_other")
	feed := Stream{Owner: "o"}
	f.append(ended, nil, models.EventOrderPlaced)
	first := f.current(feed, 1)
	f.append(ended, nil, models.EventOrderCancelled)
	f.append(pending, nil, models.EventOrderPlaced)
	f.append(other, nil, models.EventOrderPlaced)
	f.append(recent, nil, models.EventOrderPlaced, models.EventOrderCancelled)
	f.exec(`UPDATE order_events SET at = at - $1::interval`, Retention+time.Hour)
	f.exec(`UPDATE orders SET status = CASE id WHEN 'ord_pending' THEN 'pending' ELSE 'cancelled' END,
		updated_at = CASE id WHEN 'ord_recent' THEN now() ELSE now() - $1::interval END`, Retention+time.Hour)
	whole, order := f.current(feed, 5), f.poll(ended, "")

	held, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.Background()) }()
	if _, err := held.Exec(t.Context(), `SELECT FROM orders WHERE id = 'ord_other' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if more, err := f.Prune(t.Context(), time.Now()); more || err != nil {
		t.Fatalf("Prune = %v, %v", more, err)
	}
	if left := f.poll(recent, ""); len(left.Data) != 2 {
		t.Errorf("recent order: got %+v", left)
	}
	if left := f.poll(other, ""); len(left.Data) != 1 {
		t.Errorf("locked order: got %+v", left)
	}

	// The start of an order's events is gone too; that of a feed is what there is.
	if e := f.wantExpired(ended, ""); e.Order == nil || e.Order.ID != "ord_ended" {
		t.Errorf("got order %+v", e.Order)
	}
	f.wantExpired(ended, order.Data[0].Cursor)
	f.wantExpired(feed, first.NextCursor)
	if got := f.poll(feed, whole.Data[1].Cursor); len(got.Data) != 3 {
		t.Errorf("after the last deleted event: got %+v", got)
	}
	if got := f.poll(feed, ""); len(got.Data) != 3 {
		t.Errorf("from the start: got %+v", got)
	}

	// Later events continue the numbers.
	f.append(ended, nil, models.EventEmailSent)
	if got := f.poll(ended, order.NextCursor); len(got.Data) != 1 || got.Data[0].Seq != 3 {
		t.Errorf("later event: got %+v", got)
	}
}

// A backup is restored: events that were read don't exist any more, and others have
// their numbers.
func TestLog_restored_backup(t *testing.T) {
	f := newFixture(t)
	order, feed := f.order("o", "ord_1"), Stream{Owner: "o"}
	if err := f.Start(t.Context()); err != nil { // learns the history
		t.Fatal(err)
	}
	defer func() { _ = f.Stop(t.Context()) }()
	f.append(order, nil, models.EventOrderPlaced)
	f.append(order, nil, models.EventStockReserved)
	lost, seen := f.poll(order, ""), f.current(feed, 2)

	waited := make(chan error, 2)
	for s, after := range map[Stream]string{order: lost.NextCursor, feed: seen.NextCursor} {
		go func() {
			_, err := f.Wait(t.Context(), s, Query{After: after, Limit: 10}, patience)
			waited <- err
		}()
	}
	f.awaitWatchers(2)
	f.exec(`DELETE FROM order_events WHERE seq = 2`)
	f.exec(`UPDATE order_events SET feed = 1 << 40`) // of a cluster that had more transactions
	f.exec(`UPDATE event_epoch SET history = 'another'`)
	f.CatchUp()
	for range 2 {
		if _, expired := errors.AsType[*models.CursorExpiredError](<-waited); !expired {
			t.Error("a wait isn't ended")
		}
	}
	f.wantExpired(feed, seen.NextCursor)
	f.wantExpired(order, lost.NextCursor)
	f.append(order, nil, models.EventStockRejected)
	f.wantExpired(order, lost.NextCursor) // another event has the number
	if got := f.current(feed, 2); got.Data[1].Type != models.EventStockRejected {
		t.Errorf("got %+v", got)
	}
}
