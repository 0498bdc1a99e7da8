package events

import (
	"testing"
	"time"

	"ratelimiter/models"
)

// A client that got an event from another instance and goes on here wakes those who
// wait for it, although its notification was lost: the search for missed events
// begins after what is in memory.
func TestLog_wakes_for_a_reader_further_on(t *testing.T) {
	f := newFixture(t)
	other := fixtureOn(t, f.db)
	order := f.order("o", "ord_1")
	other.append(order, nil, models.EventOrderPlaced)
	first, err := f.Wait(t.Context(), order, Query{Limit: 1}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan models.EventPage, 1)
	go func() {
		page, err := f.Wait(t.Context(), order, Query{Limit: 1, After: first.NextCursor}, patience)
		if err != nil {
			t.Error(err)
		}
		got <- page
	}()
	f.await(func() bool { return f.Stats().Watchers == 1 && f.hasRead(order) })
	other.append(order, nil, models.EventStockReserved)
	second, err := other.Wait(t.Context(), order, Query{Limit: 1, After: first.NextCursor}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Wait(t.Context(), order, Query{Limit: 1, After: second.NextCursor}, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if page := <-got; len(page.Data) != 1 || page.Data[0].Seq != 2 {
		t.Errorf("got %+v; want event 2", page)
	}
}
