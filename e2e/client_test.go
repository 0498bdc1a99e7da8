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

// countingTransport counts what the server answers. It runs in a synctest
// bubble, whose time passes while all requests wait in the client, and advances
// the server's clock to the time in the bubble.
type countingTransport struct {
	base  *http.Transport
	clock *testClock
	began time.Time

	mu       sync.Mutex
	advanced time.Duration // of the server's clock since began

	answered, refused   atomic.Int64
	running, mostAtOnce atomic.Int64
}

func newCountingTransport(clock *testClock) *countingTransport {
	// An idle connection has a goroutine that reads it: then no time passes.
	return &countingTransport{base: &http.Transport{DisableKeepAlives: true}, clock: clock, began: time.Now()}
}

func (c *countingTransport) advance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := time.Since(c.began); since > c.advanced {
		c.clock.Advance(since - c.advanced)
		c.advanced = since
	}
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.advance()
	running := c.running.Add(1)
	defer c.running.Add(-1)
	for most := c.mostAtOnce.Load(); running > most && !c.mostAtOnce.CompareAndSwap(most, running); {
		most = c.mostAtOnce.Load()
	}
	response, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.answered.Add(1)
	if response.StatusCode == http.StatusTooManyRequests {
		c.refused.Add(1)
	}
	return response, nil
}

// refusedShare returns the refused requests as a share of all answered ones.
func (c *countingTransport) refusedShare() float64 {
	return float64(c.refused.Load()) / float64(c.answered.Load())
}

// oneProduct is an order of one product. It costs 5 units.
var oneProduct = client.CreateOrderRequest{
	Items: []client.OrderItemRequest{{ProductID: "prd_0y5apuf8zs", Quantity: 1}}, Email: "a@example.com", PaymentToken: "tok_ok",
}

// callCosting sends a request of cost 1 or 5.
func callCosting(ctx context.Context, c *client.Client, cost int) error {
	if cost == 5 {
		_, err := c.CreateOrder(ctx, nil, oneProduct)
		return err
	}
	_, err := c.ListProducts(ctx, nil)
	return err
}

// clientWorkers is how many goroutines share a client.
const clientWorkers = 4

// sendAll sends requests of these costs from several goroutines, each of them
// as soon as the one before is answered. It returns how long that took.
func sendAll(t *testing.T, each int, costs []int, send func(cost int) error) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for range clientWorkers {
		all.Go(func() {
			for i := range each {
				if err := send(costs[i%len(costs)]); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

var pacedPlans = []struct {
	name     string
	policies string
	each     int // requests of each worker
	costs    []int
}{
	{name: "plan_free", each: 120, costs: []int{1}},
	{
		name: "token_bucket", policies: `[{"name":"p","algorithm":"token_bucket","limit":10,"period":"1s","burst":20}]`,
		each: 50, costs: []int{1, 5},
	},
	{
		name: "token_bucket_slow", policies: `[{"name":"p","algorithm":"token_bucket","limit":30,"period":"1m","burst":10}]`,
		each: 25, costs: []int{1, 5},
	},
	{
		name: "fixed_window", policies: `[{"name":"p","algorithm":"fixed_window","limit":50,"period":"10s"}]`,
		each: 50, costs: []int{1, 5, 1, 1},
	},
	{
		name: "sliding_window", policies: `[{"name":"p","algorithm":"sliding_window","limit":100,"period":"10s"}]`,
		each: 100, costs: []int{1, 5, 1, 1},
	},
	{
		name: "sliding_log", policies: `[{"name":"p","algorithm":"sliding_log","limit":50,"period":"10s"}]`,
		each: 50, costs: []int{1, 5, 1, 1},
	},
	{
		name: "leaky_bucket", policies: `[{"name":"p","algorithm":"leaky_bucket","limit":10,"period":"1s","max_wait":"40ms"}]`,
		each: 20, costs: []int{1},
	},
	{ // requests wait up to 100 ms in the server's queue
		name: "leaky_bucket_queue", policies: `[{"name":"p","algorithm":"leaky_bucket","limit":20,"period":"100ms","max_wait":"100ms"}]`,
		each: 12, costs: []int{1},
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

// TestClient_Pacing compares the client with one that only honours Retry-After,
// under a load that exceeds the quota.
func TestClient_Pacing(t *testing.T) {
	t.Parallel()
	for _, plan := range pacedPlans {
		t.Run(plan.name, func(t *testing.T) {
			paced, took := sendPaced(t, plan.policies, plan.each, plan.costs)
			unpaced, least := sendUnpaced(t, plan.policies, plan.each, plan.costs)
			t.Logf("paced: %d of %d refused (%.1f %%) in %v; unpaced: %d of %d (%.1f %%) in %v",
				paced.refused.Load(), paced.answered.Load(), 100*paced.refusedShare(), took.Round(time.Second),
				unpaced.refused.Load(), unpaced.answered.Load(), 100*unpaced.refusedShare(), least.Round(time.Second))
			if share := paced.refusedShare(); share > 0.05 {
				t.Errorf("%.1f %% refused, want at most 5 %%", 100*share)
			}
			if unpaced.refused.Load() == 0 {
				t.Error("nothing is refused without pacing: the load is too small")
			}
		})
	}
}

func sendPaced(t *testing.T, policies string, each int, costs []int) (counts *countingTransport, took time.Duration) {
	app, key := appWithPolicies(t, policies)
	synctest.Test(t, func(t *testing.T) {
		counts = newCountingTransport(app.clock)
		c, err := client.New(app.Base(), key, &client.Options{Base: counts, MaxWait: 48 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		took = sendAll(t, each, costs, func(cost int) error { return callCosting(t.Context(), c, cost) })
	})
	return counts, took
}

// sendUnpaced sends each request again when Retry-After has passed.
func sendUnpaced(t *testing.T, policies string, each int, costs []int) (counts *countingTransport, took time.Duration) {
	app, key := appWithPolicies(t, policies)
	synctest.Test(t, func(t *testing.T) {
		counts = newCountingTransport(app.clock)
		raw, err := client.NewRaw(app.Base(), client.WithDoer(&http.Client{Transport: counts}),
			client.WithRequestEdit(func(_ context.Context, r *http.Request) error {
				r.Header.Set("X-Api-Key", key)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		c := &client.Client{Raw: raw}
		took = sendAll(t, each, costs, func(cost int) error {
			for {
				err := callCosting(t.Context(), c, cost)
				var problem *client.Problem
				if !errors.As(err, &problem) || problem.RetryAfter == nil {
					return err
				}
				time.Sleep(*problem.RetryAfter)
			}
		})
	})
	return counts, took
}

// appWithPolicies returns a server, and a key on a plan with these policies, or
// on the plan free if there are none.
func appWithPolicies(t *testing.T, policies string) (app *testApp, key string) {
	t.Helper()
	app = newApp(t)
	plan := "free"
	if policies != "" {
		plan = "paced"
		app.plan(plan, policies)
	}
	return app, app.key(models.NewKey{Plan: plan})
}

func TestClient_Pacing_concurrency(t *testing.T) {
	app, key := appWithPolicies(t, `[{"name":"parallel","algorithm":"concurrency","limit":2}]`)

	// Without pacing, all but two of eight concurrent requests are refused.
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

	counts := newCountingTransport(app.clock)
	c, err := client.New(app.Base(), key, &client.Options{Base: counts})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if err := callCosting(t.Context(), c, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d of %d refused; %d at once", counts.refused.Load(), counts.answered.Load(), counts.mostAtOnce.Load())
	if share := counts.refusedShare(); share > 0.05 {
		t.Errorf("%.1f %% refused, want at most 5 %%", 100*share)
	}
}
