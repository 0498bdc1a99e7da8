package e2e

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// eventsOf requests events and returns the response's page.
func eventsOf(caller *testkit.Client, path string) (page models.EventPage) {
	caller.Get(path).Want(http.StatusOK).JSON(&page)
	return page
}

// placeOrder places an order and returns the path of its events.
func placeOrder(caller *testkit.Client) (events string) {
	var order models.Order
	caller.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&order)
	return "/v1/orders/" + order.ID + "/events"
}

// awaitEvents polls until a stream of events has n, and returns the last page.
func (a *testApp) awaitEvents(caller *testkit.Client, path string, n int) (page models.EventPage) {
	a.t.Helper()
	a.await("the events can be read", func() bool { page = eventsOf(caller, path); return len(page.Data) == n })
	return page
}

func TestEvents_poll(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := placeOrder(caller)
	page := eventsOf(caller, path)
	if len(page.Data) != 1 || page.Data[0].Type != models.EventOrderPlaced || page.Data[0].Seq != 1 || page.Data[0].Cursor != page.NextCursor || page.Data[0].Data.Amount == nil {
		t.Fatalf("got %+v", page)
	}
	next := eventsOf(caller, path+"?after="+page.NextCursor)
	if len(next.Data) != 0 || next.NextCursor != page.NextCursor {
		t.Errorf("after the last event: got %+v", next)
	}
	placeOrder(caller)
	feed := app.awaitEvents(caller, "/v1/events", 2)
	if first := eventsOf(caller, "/v1/events?limit=1"); len(first.Data) != 1 || first.NextCursor != feed.Data[0].Cursor {
		t.Errorf("limit=1: got %+v", first)
	}
	if rest := eventsOf(caller, "/v1/events?after="+feed.Data[0].Cursor); len(rest.Data) != 1 || rest.Data[0].Cursor != feed.Data[1].Cursor {
		t.Errorf("after the first event: got %+v", rest)
	}
	if filtered := eventsOf(caller, "/v1/events?types=order.confirmed,email.sent"); len(filtered.Data) != 0 {
		t.Errorf("types: got %+v", filtered)
	}
	if others := eventsOf(app.caller("internal"), "/v1/events"); len(others.Data) != 0 {
		t.Errorf("another owner: got %+v", others)
	}
}

func TestEvents_input(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	path := placeOrder(caller)
	own, feed := eventsOf(caller, path).NextCursor, eventsOf(caller, "/v1/events").NextCursor
	other := placeOrder(caller)
	for _, c := range []struct{ path, fault, code string }{
		{path + "?after=x", "after", "cursor"},
		{path + "?after=" + feed, "after", "cursor"},
		{other + "?after=" + own, "after", "cursor"},
		{"/v1/events?after=" + own, "after", "cursor"},
		{path + "?limit=101", "limit", "max"},
		{path + "?types=order.placed,order.eaten", "types", "enum"},
		{path + "?types=order.placed,", "types", "enum"},
		{path + "?wait=31s", "wait", "range"},
		{path + "?wait=10", "wait", "pattern"},
		{path + "?wait=-1s", "wait", "pattern"},
		{path + "?waits=1s", "waits", "unknown"},
	} {
		var problem middleware.Problem
		caller.Get(c.path).Want(http.StatusUnprocessableEntity).JSON(&problem)
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != c.fault || string(problem.Errors[0].Code) != c.code {
			t.Errorf("%s: got %+v", c.path, problem.Errors)
		}
	}
	for _, query := range []string{"?after=", "?types=", "?wait=0s", "?after=" + own + "&wait=1ms"} {
		caller.Get(path + query).Want(http.StatusOK)
	}
}

// longPoll requests events in the background; result waits for the response.
func longPoll(caller *testkit.Client, path string) (result func() models.EventPage) {
	done := make(chan models.EventPage, 1)
	go func() { done <- eventsOf(caller, path) }()
	return func() models.EventPage { return <-done }
}

// watched waits until n requests wait for events.
func (a *testApp) watched(n int) {
	a.t.Helper()
	a.await("requests wait for events", func() bool { return a.metric("ratelimiter_event_watchers") == strconv.Itoa(n) })
}

func TestEvents_long_poll(t *testing.T) {
	apps := twoApps(t)
	owner := "o"
	here, there := apps[0].As(apps[0].key(models.NewKey{Plan: "internal", Owner: owner})), apps[1].As(apps[0].key(models.NewKey{Plan: "internal", Owner: owner}))
	start := eventsOf(here, "/v1/events").NextCursor
	results := map[string]func() models.EventPage{
		"the instance that changes the order": longPoll(here, "/v1/events?wait=30s&after="+start),
		"another instance":                    longPoll(there, "/v1/events?wait=30s&after="+start),
		"one that waits for another type":     longPoll(there, "/v1/events?wait=1s&types=email.sent&after="+start),
	}
	apps[0].watched(1)
	apps[1].watched(2)
	placeOrder(here)
	for name, result := range results {
		page := result()
		want := 1
		if strings.HasPrefix(name, "one") {
			want = 0
		}
		if len(page.Data) != want || page.NextCursor == start {
			t.Errorf("%s: got %+v", name, page)
		}
	}
}

// An event of which nobody is notified is found.
func TestEvents_without_notification(t *testing.T) {
	app := newApp(t, watching())
	caller := app.caller("internal")
	path := placeOrder(caller)
	result := longPoll(caller, path+"?wait=30s&after="+eventsOf(caller, path).NextCursor)
	app.watched(1)
	app.exec(`INSERT INTO order_events SELECT order_id, 2, owner, 'stock.reserved', data, now(), pg_current_xact_id()::text::bigint FROM order_events`)
	if page := result(); len(page.Data) != 1 || page.Data[0].Seq != 2 {
		t.Errorf("got %+v", page)
	}
}

// A wait without events costs nothing, unlike a poll, which a wait that is too short
// is, too.
func TestEvents_charge(t *testing.T) {
	app := newApp(t)
	app.plan("ten", `[{"name":"ten","algorithm":"fixed_window","limit":10,"period":"1h"}]`)
	caller := app.caller("ten")
	for _, c := range []struct{ query, remaining string }{{"", `"ten";r=9`}, {"?wait=1s", `"ten";r=9`}, {"?wait=1ms", `"ten";r=8`}} {
		got := caller.Get("/v1/events" + c.query).Want(http.StatusOK).Header.Get("RateLimit")
		if !strings.HasPrefix(got, c.remaining+";") {
			t.Errorf("%q: got RateLimit %s; want %s", c.query, got, c.remaining)
		}
	}
	placeOrder(caller) // 5
	app.awaitFeed()
	if got := caller.Get("/v1/events?wait=10s").Want(http.StatusOK).Header.Get("RateLimit"); !strings.HasPrefix(got, `"ten";r=2;`) {
		t.Errorf("with an event: got RateLimit %s; want 2 left", got)
	}
	if strings.Contains(app.log.String(), "slow request") {
		t.Error("a wait is logged as a slow request")
	}
}

// awaitFeed waits until no transaction holds up feeds.
func (a *testApp) awaitFeed() {
	a.t.Helper()
	var last int64
	if err := a.db.QueryRow(a.t.Context(), `SELECT max(feed) FROM order_events`).Scan(&last); err != nil {
		a.t.Fatal(err)
	}
	a.await("the feed is current", func() bool {
		var xmin int64
		err := a.db.QueryRow(a.t.Context(), `SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint`).Scan(&xmin)
		return err == nil && xmin > last
	})
}

func TestEvents_end_of_waits(t *testing.T) {
	app := newApp(t, watching())
	key := app.key(models.NewKey{Plan: "internal"})
	caller := app.As(key)
	path := placeOrder(caller)
	at := path + "?wait=30s&after=" + url.QueryEscape(eventsOf(caller, path).NextCursor)

	t.Run("client", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+app.app.Addr().String()+at, http.NoBody)
			request.Header.Set("Authorization", "Bearer "+key)
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			ended <- err
		}()
		app.watched(1)
		cancel()
		if err := <-ended; err == nil {
			t.Error("got a response")
		}
		app.watched(0)
	})
	t.Run("drain", func(t *testing.T) {
		result := longPoll(caller, at)
		app.watched(1)
		if err := app.app.Stop(context.Background()); err != nil { // it waits for requests, for at most 20 s
			t.Fatal(err)
		}
		if page := result(); len(page.Data) != 0 || page.NextCursor == "" {
			t.Errorf("got %+v", page)
		}
	})
}
