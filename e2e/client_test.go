package e2e

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/client"
	"ratelimiter/models"
)

// counted sends, below the pacing, and counts what the server answers. It runs in
// a bubble of synctest, whose time passes only when nobody does anything, a
// request under way included; the server's clock follows it.
type counted struct {
	base         *http.Transport
	clock        *testClock
	began        time.Time
	mu           sync.Mutex
	told         time.Duration // of the time since began, what the server's clock knows
	all, refused atomic.Int64
	running, top atomic.Int64
}

func newCounted(clock *testClock) *counted {
	// A connection that is kept would be read from all the time: then no time passes.
	return &counted{base: &http.Transport{DisableKeepAlives: true}, clock: clock, began: time.Now()}
}

func (c *counted) tell() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := time.Since(c.began); since > c.told {
		c.clock.Advance(since - c.told)
		c.told = since
	}
	return c.told
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.tell()
	for now := c.running.Add(1); ; {
		top := c.top.Load()
		if now <= top || c.top.CompareAndSwap(top, now) {
			break
		}
	}
	defer c.running.Add(-1)
	response, err := c.base.RoundTrip(r)
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
// long it took.
func drive(t *testing.T, base, key string, counts *counted, each int, costs []int) time.Duration {
	t.Helper()
	c, err := client.New(base, key, client.WithBase(counts), client.WithLongestWait(48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				if err := call(t.Context(), c, costs[i%len(costs)]); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(counts.began)
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
		each: 20, costs: []int{1},
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
			var counts *counted
			var took time.Duration
			synctest.Test(t, func(t *testing.T) {
				counts = newCounted(app.clock)
				took = drive(t, app.Base(), key, counts, plan.each, plan.costs)
			})
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
	return app, app.key(models.NewKey{Plan: plan})
}

func TestThePacedClientRunsNoMoreAtOnceThanAConcurrencyPolicyAllows(t *testing.T) {
	app := newApp(t)
	app.plan("parallel", `[{"name":"parallel","algorithm":"concurrency","limit":2}]`)
	key := app.key(models.NewKey{Plan: "parallel"})

	// Without the pacing, all but two of eight are refused.
	locked, unlock := app.lock("products")
	defer unlock()
	statuses := make(chan int)
	for range 8 {
		go func() { statuses <- app.As(key).Get("/v1/products").Status }()
	}
	for range 6 {
		if status := <-statuses; status != http.StatusTooManyRequests {
			t.Errorf("status %d", status)
		}
	}
	locked()
	unlock()
	for range 2 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}

	counts := newCounted(app.clock)
	c, err := client.New(app.Base(), key, client.WithBase(counts))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if err := call(t.Context(), c, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if counts.refused.Load() > 0 || counts.top.Load() > 2 {
		t.Errorf("%d of %d were refused; %d ran at once", counts.refused.Load(), counts.all.Load(), counts.top.Load())
	}
}
