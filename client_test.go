package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/client"
	"ratelimiter/internal/apikeys"
)

// pacedClock is the server's clock for a client too. It moves when everybody
// who works by it waits, and then to when the first of them is woken: a time in
// which nothing happens passes at once, and in no other does any time pass.
type pacedClock struct {
	*testClock
	mu      sync.Mutex
	timers  map[chan time.Time]time.Time
	working int
}

func newPacedClock(server *testClock, workers int) *pacedClock {
	return &pacedClock{testClock: server, timers: map[chan time.Time]time.Time{}, working: workers}
}

func (c *pacedClock) NewTimer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fired := make(chan time.Time, 1)
	c.timers[fired] = c.Now().Add(d)
	c.turn()
	return fired, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, fired)
	}
}

// done takes one out of those who work.
func (c *pacedClock) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working--
	c.turn()
}

func (c *pacedClock) turn() {
	if c.working == 0 || len(c.timers) < c.working {
		return
	}
	var first chan time.Time
	for fired, at := range c.timers {
		if first == nil || at.Before(c.timers[first]) {
			first = fired
		}
	}
	if wait := c.timers[first].Sub(c.Now()); wait > 0 {
		c.Advance(wait)
	}
	delete(c.timers, first)
	first <- c.Now()
}

// counted counts what the server answers, below the pacing.
type counted struct {
	all, refused atomic.Int64
	running, top atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	for now := c.running.Add(1); ; {
		top := c.top.Load()
		if now <= top || c.top.CompareAndSwap(top, now) {
			break
		}
	}
	defer c.running.Add(-1)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.all.Add(1)
	if response.StatusCode == http.StatusTooManyRequests {
		c.refused.Add(1)
	}
	return response, nil
}

// placed is an order of one espresso cup set, which costs 5.
var placed = client.CreateOrder{
	Items: []client.CreateItem{{ProductID: "prd_0y5apuf8zs", Quantity: 1}}, Email: "a@example.com", PaymentToken: "tok_ok",
}

// drive sends requests of these costs from several goroutines, and returns how
// long it took by the server's clock.
func drive(t *testing.T, c *client.Client, clock *pacedClock, each int, costs ...int) time.Duration {
	t.Helper()
	began := clock.Now()
	var workers sync.WaitGroup
	for range clock.working {
		workers.Go(func() {
			defer clock.done()
			for i := range each {
				if err := call(t.Context(), c, costs[i%len(costs)]); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
	}
	workers.Wait()
	return clock.Now().Sub(began)
}

func call(ctx context.Context, c *client.Client, cost int) error {
	if cost == 5 {
		_, err := c.CreateOrder(ctx, nil, placed)
		return err
	}
	_, err := c.ListProducts(ctx, nil)
	return err
}

var pacedPlans = []struct {
	name     string
	policies string
	each     int // requests of each of 4 workers
	costs    []int
}{
	{name: "free", each: 180, costs: []int{1}},
	{
		name: "token bucket", policies: `[{"name":"p","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`,
		each: 50, costs: []int{1, 5},
	},
	{
		name: "fixed window", policies: `[{"name":"p","algorithm":"fixed_window","limit":50,"period":"10s"}]`,
		each: 50, costs: []int{1, 5, 1, 1},
	},
	{
		name: "sliding window", policies: `[{"name":"p","algorithm":"sliding_window","limit":50,"period":"10s"}]`,
		each: 50, costs: []int{1, 5, 1, 1},
	},
	{
		name: "sliding log", policies: `[{"name":"p","algorithm":"sliding_log","limit":50,"period":"10s"}]`,
		each: 50, costs: []int{1, 5, 1, 1},
	},
	{
		name: "leaky bucket", policies: `[{"name":"p","algorithm":"leaky_bucket","limit":10,"period":"1s","max_wait":"40ms"}]`,
		each: 50, costs: []int{1},
	},
	{
		name: "calendar", policies: `[{"name":"p","algorithm":"calendar","limit":100,"period":"day"}]`,
		each: 60, costs: []int{1},
	},
	{
		name: "group", policies: `[{"name":"writes","algorithm":"fixed_window","limit":10,"period":"10s","group":"orders:write"},
			{"name":"p","algorithm":"token_bucket","limit":10,"period":"1s"}]`,
		each: 16, costs: []int{1, 1, 1, 5},
	},
}

// TestThePacedClientIsNeverRefusedAndAlmostAsFastAsTheQuotaAllows compares with
// a client that is refused each time, is told to the nanosecond when to come
// back, and does: nobody can be faster by more than the order of the requests.
func TestThePacedClientIsNeverRefusedAndAlmostAsFastAsTheQuotaAllows(t *testing.T) {
	for _, plan := range pacedPlans {
		t.Run(plan.name, func(t *testing.T) {
			least, impatient := driveUnpaced(t, plan.policies, workers*plan.each, plan.costs)
			if impatient == 0 {
				t.Fatal("without the pacing the load isn't refused: it shows nothing")
			}
			app, key := pacedApp(t, plan.policies)
			clock, counts := newPacedClock(app.clock, workers), &counted{}
			c, err := client.New(app.Base(), key, client.WithBase(counts), client.WithClock(clock), client.WithLongestWait(48*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			took := drive(t, c, clock, plan.each, plan.costs...)
			if refused := counts.refused.Load(); refused != 0 {
				t.Errorf("%d of %d requests were refused", refused, counts.all.Load())
			}
			ratio := least.Seconds() / took.Seconds()
			t.Logf("%d requests in %v, of %v at least: %.1f %%; %d answers, and %d refusals without the pacing",
				workers*plan.each, took, least, 100*ratio, counts.all.Load(), impatient)
			if ratio < 0.95 {
				t.Errorf("took %v, and the quota allows %v", took, least)
			}
		})
	}
}

// workers is how many goroutines share a client.
const workers = 4

// driveUnpaced sends n requests of these costs, each again when a refusal says
// that it may come back.
func driveUnpaced(t *testing.T, policies string, n int, costs []int) (took time.Duration, refused int) {
	t.Helper()
	app, key := pacedApp(t, policies)
	raw, err := client.NewRaw(app.Base(), client.WithRequestEdit(func(_ context.Context, r *http.Request) error {
		r.Header.Set("X-Api-Key", key)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	c, began := &client.Client{Raw: raw}, app.clock.Now()
	for i := 0; i < n; {
		var problem *client.Problem
		switch err := call(t.Context(), c, costs[i%len(costs)]); {
		case err == nil:
			i++
		case errors.As(err, &problem) && problem.Status == http.StatusTooManyRequests && len(problem.ViolatedPolicies) > 0 && problem.RetryAfter != nil:
			refused++
			app.clock.Advance(*problem.RetryAfter + time.Nanosecond) // a float's rounding
		default:
			t.Fatal(err)
		}
	}
	return app.clock.Now().Sub(began), refused
}

// pacedApp is a server and a key on a plan of these policies; without any, on
// the plan free.
func pacedApp(t *testing.T, policies string) (app *testApp, key string) {
	app = newApp(t)
	plan := "free"
	if policies != "" {
		plan = "paced"
		app.plan(plan, policies)
	}
	return app, app.key(apikeys.NewKey{Plan: plan})
}
