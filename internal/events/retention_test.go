package events

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/models"
)

// wantExpired fails unless a cursor has expired; its error has the order of an order's stream.
func (f *fixture) wantExpired(s Stream, after string) {
	f.t.Helper()
	page, err := f.Wait(f.t.Context(), s, Query{After: after, Limit: 10}, 0)
	expired, ok := errors.AsType[*models.CursorExpiredError](err)
	if !ok {
		f.t.Fatalf("%v after %q: got %+v, %v; want an expired cursor", s, after, page, err)
	}
	if got := f.poll(s, expired.NextCursor); len(got.Data) != 0 {
		f.t.Errorf("after next_cursor: got %+v", got)
	}
	if order := expired.Order; s.Order != "" && (order == nil || order.ID != s.Order) || s.Order == "" && order != nil {
		f.t.Errorf("%v: got order %+v", s, order)
	}
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
	f.wantExpired(ended, "")
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

// A feed can be read from the start, and followed, after events were deleted: all of
// them, or some between others that are kept.
func TestLog_feed_after_prune(t *testing.T) {
	f := newFixture(t)
	feed := Stream{Owner: "o"}
	kept, ended, only := f.order("o", "ord_kept"), f.order("o", "ord_ended"), f.order("other", "ord_only")
	f.append(kept, nil, models.EventOrderPlaced)
	first := f.current(feed, 1)
	f.append(kept, nil, models.EventStockReserved)
	f.append(only, nil, models.EventOrderPlaced, models.EventOrderCancelled)
	f.append(ended, nil, models.EventOrderPlaced, models.EventOrderCancelled)
	f.append(kept, nil, models.EventPaymentAuthorized)
	f.append(kept, nil, models.EventPaymentCaptured)
	f.current(feed, 6)
	f.exec(`UPDATE order_events SET at = at - $1::interval`, Retention+time.Hour)
	f.exec(`UPDATE orders SET status = 'cancelled', updated_at = now() - $1::interval WHERE id <> 'ord_kept'`, Retention+time.Hour)
	if _, err := f.Prune(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}

	for _, timeout := range []time.Duration{0, time.Millisecond} {
		var after string
		for want := range []int64{3, 4} {
			page, err := f.Wait(t.Context(), feed, Query{After: after, Limit: 1}, timeout)
			if err != nil || len(page.Data) != 1 || page.Data[0].OrderID != "ord_kept" || page.Data[0].Seq != int64(want)+3 {
				t.Fatalf("got %+v, %v", page, err)
			}
			after = page.NextCursor
		}
		for range 2 { // what is read from the start doesn't hide that older cursors have expired
			_, err := f.Wait(t.Context(), feed, Query{Limit: 10}, timeout)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Wait(t.Context(), feed, Query{After: first.NextCursor, Limit: 10}, timeout)
			if _, expired := errors.AsType[*models.CursorExpiredError](err); !expired {
				t.Fatalf("got %v; want an expired cursor", err)
			}
		}
		if page, err := f.Wait(t.Context(), Stream{Owner: "other"}, Query{Limit: 10}, timeout); err != nil || len(page.Data) != 0 {
			t.Fatalf("no event is left: got %+v, %v", page, err)
		} else if page, err = f.Wait(t.Context(), Stream{Owner: "other"}, Query{After: page.NextCursor, Limit: 10}, timeout); err != nil {
			t.Fatalf("no event is left, after next_cursor: got %+v, %v", page, err)
		}
	}
}

// A reader of a feed that was empty misses nothing, and learns it if it has.
func TestLog_feed_empty(t *testing.T) {
	f := newFixture(t)
	feed := Stream{Owner: "o"}
	empty := f.poll(feed, "")
	order := f.order("o", "ord_1")
	f.append(order, nil, models.EventOrderPlaced)
	f.await(func() bool { return len(f.poll(feed, empty.NextCursor).Data) == 1 })
	f.exec(`UPDATE order_events SET at = at - $1::interval`, Retention+time.Hour)
	f.exec(`UPDATE orders SET status = 'cancelled', updated_at = now() - $1::interval`, Retention+time.Hour)
	if _, err := f.Prune(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	f.wantExpired(feed, empty.NextCursor)
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
