package e2e

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"ratelimiter/client"
	"ratelimiter/models"
)

// Events follows all orders, resumes from a cursor, and reports an expired one.
func TestClient_Events(t *testing.T) {
	app := newApp(t, watching())
	key := app.key(models.NewKey{Plan: "internal"})
	c, err := client.New("http://"+app.app.Addr().String(), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.CreateOrder(t.Context(), nil, oneProduct)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cursor string
	var got []string
	for event, err := range c.Events(ctx, "", "") {
		if len(got) == 2 { // canceled below
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %+v, %v; want the context's error", event, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.OrderID)
		switch len(got) {
		case 1:
			cursor = event.Cursor
			if _, err := c.CreateOrder(t.Context(), nil, oneProduct); err != nil { // while it follows
				t.Fatal(err)
			}
		case 2:
			cancel()
		}
	}
	if len(got) != 2 || got[0] != first.ID || got[1] == first.ID {
		t.Errorf("got events of %v", got)
	}
	for event, err := range c.Events(t.Context(), "", cursor) {
		if err != nil || event.OrderID != got[1] {
			t.Errorf("resumed: got %+v, %v", event, err)
		}
		break
	}
	page, err := c.ListOrderEvents(t.Context(), first.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	app.exec(`DELETE FROM order_events`)
	for _, err := range c.Events(t.Context(), first.ID, page.NextCursor) {
		problem, ok := errors.AsType[*client.Problem](err)
		if !ok || problem.Status != http.StatusGone || problem.Order == nil || problem.Order.ID != first.ID || problem.NextCursor == "" {
			t.Errorf("expired: got %+v", err)
		}
	}
}
