package events

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/models"
)

// Watchers of some types share reads too, although each began at another end of the
// feed, and the first one has left.
func TestLog_shares_reads_of_types(t *testing.T) {
	f := newFixture(t)
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Stop(context.Background()) }()
	order := f.order("o", "ord_1")
	f.append(order, nil, models.EventOrderPlaced)
	f.current(Stream{Owner: "o"}, 1)
	for _, s := range []Stream{order, {Owner: "o"}} {
		start, reads := f.poll(s, "").NextCursor, f.Stats().Reads
		const watchers = 20
		q := Query{After: start, Types: []models.EventType{models.EventEmailSent}, Limit: 1}
		if _, err := f.Wait(t.Context(), s, q, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		f.exec(`SELECT pg_current_xact_id()`)
		results := make([]waiting, watchers)
		for i := range results {
			results[i] = f.wait(s, q, patience)
			f.await(func() bool { return f.Stats().Watchers == i+1 && f.hasRead(s) })
			f.exec(`SELECT pg_current_xact_id()`)
		}
		for range 3 {
			f.append(order, nil, models.EventStockReserved)
		}
		f.append(order, nil, models.EventEmailSent)
		for _, result := range results {
			if got := <-result; got.err != nil || len(got.page.Data) != 1 || got.page.Data[0].Type != models.EventEmailSent {
				t.Fatalf("%v: got %+v", s, got)
			}
		}
		if n := f.Stats().Reads - reads; n >= 2*watchers { // one when each began, and more
			t.Errorf("%v: %d watchers made %d reads", s, watchers, n)
		}
	}
}

// Who waits for a read that fails gets its error, instead of failing on their own one
// after another; what is known of held events stays.
func TestLog_shares_failures(t *testing.T) {
	f := newFixture(t)
	order := f.order("o", "ord_1")
	topic, leave := f.hub.watch(order)
	defer leave()
	f.hub.hold(topic, 7)
	blocker, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocker.Rollback(context.Background()) }()
	if _, err := blocker.Exec(t.Context(), `LOCK TABLE orders IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const watchers = 10
	results := make([]waiting, watchers)
	for i := range results {
		results[i] = f.wait(order, Query{Limit: 1}, patience)
	}
	f.awaitWatchers(1 + watchers)
	f.await(func() (ended bool) {
		err := f.db.QueryRow(t.Context(), `
			SELECT COALESCE(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&ended)
		return err == nil && ended
	})
	for _, result := range results {
		if got := <-result; !errors.Is(got.err, models.ErrUnavailable) {
			t.Errorf("got %+v", got)
		}
	}
	if n := f.Stats().Reads; n > watchers/2 {
		t.Errorf("%d watchers made %d reads; want 1", watchers, n)
	}
	if topic.held.Load() != 7 {
		t.Error("the held event is forgotten")
	}
}

// Who waits for another's read gets an empty page when its timeout passes, and
// context.Canceled when it leaves.
func TestLog_timeout_in_line(t *testing.T) {
	f := newFixture(t)
	order := f.order("o", "ord_1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	left := make(chan error, 1)
	short := f.wait(order, Query{Limit: 1}, 200*time.Millisecond)
	go func() {
		_, err := f.Wait(ctx, order, Query{Limit: 1}, 2*patience)
		left <- err
	}()
	f.awaitWatchers(2)
	f.await(func() bool { return f.hasRead(order) })
	topic := f.hub.all()[0]
	topic.tail.turn <- struct{}{}
	topic.wake()
	cancel()
	for range 2 {
		select {
		case got := <-short:
			if got.err != nil || len(got.page.Data) != 0 || got.page.NextCursor == "" {
				t.Errorf("got %+v", got)
			}
		case err := <-left:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		case <-time.After(patience):
			t.Fatal("they wait beyond their timeouts")
		}
	}
	<-topic.tail.turn
}
