package changefeed

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// heard records what a waker is called for.
type heard struct{ calls []string }

func (h *heard) Wake(owner, order string) { h.calls = append(h.calls, owner+" "+order) }
func (h *heard) CatchUp()                 { h.calls = append(h.calls, "catch up") }

func TestChangedOrders(t *testing.T) {
	for _, c := range []struct {
		name   string
		orders int
		own    string
		want   []string
	}{
		{"names the orders", 2, "other", []string{"o ord_0", "o ord_1"}},
		{"own", 2, "me", nil},
		{"too many", 1000, "other", []string{"catch up"}},
		{"none", 0, "other", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			orders := changedOrders{name: "me"}
			for i := range c.orders {
				orders.add("o", fmt.Sprint("ord_", i))
				orders.add("o", fmt.Sprint("ord_", i))
			}
			payload := orders.payload()
			if len(payload) > maxPayload {
				t.Errorf("the payload has %d bytes", len(payload))
			}
			var h heard
			if payload != "" {
				wake(&h, c.own, payload)
			}
			slices.Sort(h.calls)
			if !slices.Equal(h.calls, c.want) {
				t.Errorf("got %v", h.calls)
			}
		})
	}
}

// An owner with a separator, which older releases accepted, doesn't change what a
// notification says.
func TestChangedOrders_separator(t *testing.T) {
	for _, owner := range []string{"a\tb", "a\nb", "\n"} {
		orders := changedOrders{name: "me"}
		orders.add("o", "ord_1")
		orders.add(owner, "ord_2")
		orders.add("o", "ord_3")
		var h heard
		wake(&h, "other", orders.payload())
		if !slices.Equal(h.calls, []string{"catch up"}) {
			t.Errorf("%q: got %v", owner, h.calls)
		}
	}
}

// The notifications of changes and of events are sent together, each if it is due.
func TestPublisher_PublishEvents(t *testing.T) {
	db := testkit.Database(t)
	conn, err := postgres.Listen(t.Context(), db, channel, eventChannel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		changes, events bool
		want            []string
	}{
		{true, false, []string{channel}},
		{false, true, []string{eventChannel}},
		{true, true, []string{channel, eventChannel}},
	} {
		p := NewPublisher(db, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if c.changes {
			p.Publish()
		}
		if c.events {
			p.PublishEvents("o", "ord_1")
		}
		_ = p.Start(t.Context())
		_ = p.Stop(t.Context())
		var got []string
		for range c.want {
			news, ok, err := conn.Wait(t.Context(), 20*time.Second)
			if !ok || err != nil {
				t.Fatalf("got %v, then %t, %v; want %v", got, ok, err, c.want)
			}
			got = append(got, news.Channel)
			if news.Channel == eventChannel && !strings.HasSuffix(news.Payload, "\no\tord_1") {
				t.Errorf("got payload %q", news.Payload)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("got %v; want %v", got, c.want)
		}
	}
}
