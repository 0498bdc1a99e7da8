package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

func TestRateLimit_headers(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free")
	response := caller.Get("/v1/products").Want(http.StatusOK)
	const policy = `"burst";q=20;w=2, "minute";q=300;w=60, "monthly";q=10000`
	if got := response.Header.Get("RateLimit-Policy"); got != policy {
		t.Errorf("got RateLimit-Policy %s\n               want %s", got, policy)
	}
	// 12:00 UTC on 10 March; the period ends on 15 March, 0:00 in Berlin.
	untilPeriodEnds := int64((4*24*time.Hour + 11*time.Hour) / time.Second)
	limits := `"burst";r=19;t=1, "minute";r=299;t=60, "monthly";r=9999;t=` + strconv.FormatInt(untilPeriodEnds, 10)
	if got := response.Header.Get("RateLimit"); got != limits {
		t.Errorf("got RateLimit %s\n        want %s", got, limits)
	}
}

func TestRateLimit_parallel_burst(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", `[{"name":"burst","algorithm":"token_bucket","limit":1,"period":"1h","burst":20}]`)
	caller := app.caller("hourly")
	var allowed, refused atomic.Int64
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			switch response := caller.Get("/v1/products"); response.Status {
			case http.StatusOK:
				allowed.Add(1)
			case http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("got status %d: %s", response.Status, response.Body)
			}
		})
	}
	calls.Wait()
	if allowed.Load() != 20 || refused.Load() != 80 {
		t.Fatalf("got %d allowed and %d refused; want 20 and 80", allowed.Load(), refused.Load())
	}
}

func TestRateLimit_retry_after(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free")
	for range 20 {
		caller.Get("/v1/products").Want(http.StatusOK)
	}
	refused := caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	var problem middleware.QuotaProblem
	refused.JSON(&problem)
	if problem.Type != middleware.ProblemQuotaExceeded || strings.Join(problem.ViolatedPolicies, ",") != "burst" {
		t.Errorf("got problem %+v; want quota-exceeded by burst", problem)
	}
	if problem.RetryAfter == nil || *problem.RetryAfter != 0.1 {
		t.Fatalf("got retry_after %v; want 0.1", problem.RetryAfter)
	}
	if got := refused.Header.Get("RateLimit"); !strings.HasPrefix(got, `"burst";r=0;t=1, "minute";r=280;`) {
		t.Errorf("got RateLimit %s; want r=280: refusals cost nothing", got)
	}
	seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	if err != nil || seconds != 1 {
		t.Fatalf("got Retry-After %q; want 1", refused.Header.Get("Retry-After"))
	}
	app.clock.Advance(99 * time.Millisecond)
	caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	app.clock.Advance(time.Duration(seconds)*time.Second - 99*time.Millisecond)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestRateLimit_group(t *testing.T) {
	app := newApp(t)
	app.plan("grouped", `[{"name":"writes","algorithm":"fixed_window","limit":5,"period":"1m","group":"orders:write"}]`)
	caller := app.caller("grouped")
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header["Ratelimit"]; got != nil {
		t.Errorf("got RateLimit %s; want none for a route of another group", got)
	}
	if got := caller.Post("/v1/orders", order1).Want(http.StatusCreated).Header.Get("RateLimit"); got != `"writes";r=0;t=60` {
		t.Errorf("got RateLimit %s; want r=0: an order costs 5", got)
	}
	caller.Post("/v1/orders", order1).Want(http.StatusTooManyRequests)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestRateLimit_cost_above_capacity(t *testing.T) {
	app := newApp(t)
	app.plan("tiny", `[{"name":"tiny","algorithm":"fixed_window","limit":4,"period":"1m"}]`)
	refused := app.caller("tiny").Post("/v1/orders", `{}`).Want(http.StatusTooManyRequests)
	if got, ok := refused.Header["Retry-After"]; ok {
		t.Errorf("got Retry-After %s; want none", got)
	}
	if !strings.Contains(string(refused.Body), `"retry_after":null`) {
		t.Errorf("got body %s; want retry_after null", refused.Body)
	}
}

func TestRateLimit_charge_of_errors(t *testing.T) {
	app := newApp(t)
	app.plan("both", `[
		{"name":"requests","algorithm":"fixed_window","limit":100,"period":"1m"},
		{"name":"successes","algorithm":"fixed_window","limit":100,"period":"1m","charge":"successes"}]`)
	caller := app.caller("both")
	steps := []struct {
		path   string
		status int
		limits string
	}{
		{path: "/v1/products", status: 200, limits: `"requests";r=99;t=60, "successes";r=99;t=60`},
		{path: "/v1/products/prd_none", status: 404, limits: `"requests";r=98;t=60, "successes";r=99;t=60`},
		{path: "/v1/products?limit=0", status: 422, limits: `"requests";r=97;t=60, "successes";r=99;t=60`},
		{path: "/v1/nothing", status: 404, limits: ``},
	}
	for _, step := range steps {
		if got := caller.Get(step.path).Want(step.status).Header.Get("RateLimit"); got != step.limits {
			t.Errorf("%s: got RateLimit %s; want %s", step.path, got, step.limits)
		}
	}
	app.exec(`ALTER TABLE products RENAME sku TO hidden`)
	if got := caller.Get("/v1/products?limit=3").Want(500).Header.Get("RateLimit"); got != `"requests";r=97;t=60, "successes";r=99;t=60` {
		t.Errorf("got RateLimit %s; want r=97: a 500 is refunded", got)
	}
}

func TestRateLimit_missing_scope_is_charged(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free", models.ScopeProductsRead)
	response := caller.Get("/v1/orders").Want(http.StatusForbidden)
	if !strings.Contains(string(response.Body), "orders:read") {
		t.Errorf("got problem %s; want it to name the scope", response.Body)
	}
	if got := response.Header.Get("RateLimit"); !strings.HasPrefix(got, `"burst";r=19;`) {
		t.Errorf("got RateLimit %s; want r=19: a 403 is charged", got)
	}
}

func TestConcurrency_slot_held_until_response(t *testing.T) {
	app := newApp(t)
	app.plan("parallel", `[{"name":"parallel","algorithm":"concurrency","limit":1}]`)
	caller := app.caller("parallel")
	for range 3 { // each request releases its slot
		response := caller.Get("/v1/products").Want(http.StatusOK)
		if got := response.Header.Get("RateLimit-Policy"); got != `"parallel";q=1;qu="concurrent-requests"` {
			t.Errorf("got RateLimit-Policy %s", got)
		}
		if got := response.Header.Get("RateLimit"); got != `"parallel";r=0` {
			t.Errorf("got RateLimit %s", got)
		}
	}
	caller.Get("/v1/products/none").Want(http.StatusNotFound)
	caller.Get("/v1/products").Want(http.StatusOK)

	// A request that is blocked in the database holds its slot.
	locked, unlock := app.lock("orders")
	defer unlock()
	held := make(chan int)
	go func() { held <- caller.Get("/v1/orders").Status }()
	locked()
	refused := caller.Get("/v1/orders").Want(http.StatusTooManyRequests)
	if got := refused.Header.Get("Retry-After"); got != "1" {
		t.Errorf("got Retry-After %s; want 1", got)
	}
	unlock()
	if status := <-held; status != http.StatusOK {
		t.Errorf("blocked request: got status %d; want 200", status)
	}
	caller.Get("/v1/products").Want(http.StatusOK)
}

// startRequest starts a request in the background. hangUp cancels it and waits for
// its end.
func (a *testApp) startRequest(key, method, path, body string) (hangUp func()) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	request, err := http.NewRequestWithContext(ctx, method, a.Base()+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {key}, "Content-Type": {"application/json"}}
	ended := make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		ended <- err
	}()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			a.t.Fatalf("canceled request: got error %v; want %v", err, context.Canceled)
		}
	}
}

func TestRateLimit_disconnected_client_is_charged(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", `[{"name":"hourly","algorithm":"fixed_window","limit":100,"period":"1h"}]`)
	key := app.key(models.NewKey{Plan: "hourly"})
	locked, unlock := app.lock("products")
	defer unlock()
	hangUp := app.startRequest(key, http.MethodPost, "/v1/orders", order1)
	locked()
	hangUp()
	unlock()
	caller := app.As(key)
	app.await("the order is placed", func() bool {
		return strings.Contains(string(caller.Get("/v1/orders").Want(http.StatusOK).Body), `"pending"`)
	})
	app.await("the request is logged", func() bool { return strings.Contains(app.log.String(), `"path":"/v1/orders","status":201`) })
	reads := strings.Count(app.log.String(), `"method":"GET"`)
	want := fmt.Sprintf(`"hourly";r=%d;`, 100-5-reads-1)
	if got := caller.Get("/v1/orders").Header.Get("RateLimit"); !strings.HasPrefix(got, want) {
		t.Errorf("got RateLimit %s; want %s", got, want)
	}
}

func TestDeadline_blocked_query(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	caller.Get("/v1/products").Want(http.StatusOK)
	router := gin.New()
	router.Use(middleware.Begin(nil), middleware.RenderErrors(), middleware.Deadline(50*time.Millisecond))
	router.GET("/hang", func(c *gin.Context) {
		_, err := app.db.Exec(c.Request.Context(), `SELECT pg_sleep(60)`)
		middleware.Fail(c, postgres.Classify("hang", err))
	})
	response := testkit.Serve(t, router).Undescribed("a route of this test").Get("/hang").Want(http.StatusServiceUnavailable)
	if response.Header.Get("Retry-After") == "" {
		t.Error("want Retry-After in the 503")
	}
}

func TestRateLimit_legacy_headers(t *testing.T) {
	for fields, want := range map[middleware.Fields][]bool{middleware.FieldsLegacy: {false, true}, middleware.FieldsBoth: {true, true}} {
		app := newApp(t, withFields(fields))
		header := app.caller("free").Get("/v1/products").Want(http.StatusOK).Header
		if (header.Get("RateLimit") != "") != want[0] || (header.Get("RateLimit-Policy") != "") != want[0] {
			t.Errorf("%s: got header %v", fields, header)
		}
		if got := header.Get("X-RateLimit-Limit") + " " + header.Get("X-RateLimit-Remaining") + " " + header.Get("X-RateLimit-Reset"); got != "20 19 1" {
			t.Errorf("%s: got X-RateLimit-Limit, -Remaining, -Reset %s; want 20 19 1", fields, got)
		}
	}
}

func TestConcurrency_slot_released_on_disconnect(t *testing.T) {
	app := newApp(t)
	app.plan("parallel", `[{"name":"parallel","algorithm":"concurrency","limit":1,"hold":"1h"}]`)
	key := app.key(models.NewKey{Plan: "parallel"})
	locked, unlock := app.lock("products")
	defer unlock()
	hangUp := app.startRequest(key, http.MethodGet, "/v1/products", "")
	locked()
	app.As(key).Get("/v1/orders").Want(http.StatusTooManyRequests)
	hangUp()
	app.await("the slot is free", func() bool { return app.As(key).Get("/v1/orders").Status == http.StatusOK })
}

func TestLeakyBucket_queue_full(t *testing.T) {
	app := newApp(t)
	app.plan("queue", `[{"name":"queue","algorithm":"leaky_bucket","limit":2,"period":"1m","max_wait":"1m"}]`)
	caller := app.caller("queue")
	caller.Get("/v1/products").Want(http.StatusOK)
	var problem middleware.QuotaProblem
	refused := caller.Get("/v1/products").Want(http.StatusTooManyRequests) // its turn is in 30 s, and queues last 10 s
	refused.JSON(&problem)
	if got := refused.Header.Get("RateLimit"); !strings.HasPrefix(got, `"queue";r=0;`) {
		t.Errorf("got RateLimit %s; want nothing left", got)
	}
	if strings.Join(problem.ViolatedPolicies, ",") != "queue" || problem.RetryAfter == nil || *problem.RetryAfter != 20 {
		t.Errorf("got problem %+v; want retry_after 20 by queue", problem)
	}
	app.clock.Advance(30 * time.Second)
	caller.Get("/v1/products").Want(http.StatusOK) // refused requests don't occupy the queue
	wantQueueRefusal(t, caller, 3)
}

func TestLeakyBucket_hang_up_in_the_queue(t *testing.T) {
	app := newApp(t)
	app.plan("queue", `[{"name":"queue","algorithm":"leaky_bucket","limit":10,"period":"1m","max_wait":"1m"}]`)
	key := app.key(models.NewKey{Plan: "queue"})
	caller := app.As(key)
	caller.Get("/v1/products").Want(http.StatusOK)
	hangUp := app.startRequest(key, http.MethodGet, "/v1/products", "") // its turn is in 6 s
	app.await("two requests in the queue", func() bool {
		var limits struct{ Data []limitState }
		caller.Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
		return limits.Data[0].ResetAfter > 6.5
	})
	hangUp()
	wantQueueRefusal(t, caller, 2)
}

// wantQueueRefusal checks that one of a caller's requests was refused by the
// policy queue, in usage and refusals.
func wantQueueRefusal(t *testing.T, caller *testkit.Client, requests int64) {
	t.Helper()
	if got, want := awaitUsage(t, caller, "/v1/me/usage", requests).total(), [4]int64{requests, requests - 1, 1, requests - 1}; got != want {
		t.Errorf("got usage %v; want %v", got, want)
	}
	var refusals refusalsResponse
	testkit.Await(t, 20*time.Second, "the refusal is visible", func() bool { // it has a flush of its own
		caller.Get("/v1/me/refusals").Want(http.StatusOK).JSON(&refusals)
		return len(refusals.Data) > 0
	})
	if len(refusals.Data) != 1 || strings.Join(refusals.Data[0].ViolatedPolicies, ",") != "queue" {
		t.Errorf("got refusals %+v; want one by queue", refusals.Data)
	}
}
