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

func TestEveryAnswerToAKeyTellsWhereTheCallerStands(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free")
	answer := caller.Get("/v1/products").Want(http.StatusOK)
	const policy = `"burst";q=20;w=2, "minute";q=300;w=60, "monthly";q=10000`
	if got := answer.Header.Get("RateLimit-Policy"); got != policy {
		t.Errorf("RateLimit-Policy: %s\n             want %s", got, policy)
	}
	// 12:00 UTC on 10 March; the period ends on 15 March, 0:00 in Berlin.
	untilPeriodEnds := int64((4*24*time.Hour + 11*time.Hour) / time.Second)
	limits := `"burst";r=19;t=1, "minute";r=299;t=60, "monthly";r=9999;t=` + strconv.FormatInt(untilPeriodEnds, 10)
	if got := answer.Header.Get("RateLimit"); got != limits {
		t.Errorf("RateLimit: %s\n      want %s", got, limits)
	}
}

func TestABurstOfAHundredParallelRequestsLetsExactlyTwentyPass(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", `[{"name":"burst","algorithm":"token_bucket","limit":1,"period":"1h","burst":20}]`)
	caller := app.caller("hourly")
	var passed, refused atomic.Int64
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			switch answer := caller.Get("/v1/products"); answer.Status {
			case http.StatusOK:
				passed.Add(1)
			case http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("status %d: %s", answer.Status, answer.Body)
			}
		})
	}
	calls.Wait()
	if passed.Load() != 20 || refused.Load() != 80 {
		t.Fatalf("%d passed and %d were refused; want 20 and 80", passed.Load(), refused.Load())
	}
}

func TestARefusedCallerIsToldWhenToComeBack(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free")
	for range 20 {
		caller.Get("/v1/products").Want(http.StatusOK)
	}
	refused := caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	var problem middleware.QuotaProblem
	refused.JSON(&problem)
	if problem.Type != middleware.ProblemQuotaExceeded || strings.Join(problem.ViolatedPolicies, ",") != "burst" {
		t.Errorf("problem %+v; want quota-exceeded by burst", problem)
	}
	if problem.RetryAfter == nil || *problem.RetryAfter != 0.1 {
		t.Fatalf("retry_after %v; want 0.1", problem.RetryAfter)
	}
	if got := refused.Header.Get("RateLimit"); !strings.HasPrefix(got, `"burst";r=0;t=1, "minute";r=280;`) {
		t.Errorf("RateLimit %s; a refusal costs nothing", got)
	}
	seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	if err != nil || seconds != 1 {
		t.Fatalf("Retry-After %q; want 1", refused.Header.Get("Retry-After"))
	}
	app.clock.Advance(99 * time.Millisecond)
	caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	app.clock.Advance(time.Duration(seconds)*time.Second - 99*time.Millisecond)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestAPolicyOfAGroupAppliesToItsRoutesOnly(t *testing.T) {
	app := newApp(t)
	app.plan("grouped", `[{"name":"writes","algorithm":"fixed_window","limit":5,"period":"1m","group":"orders:write"}]`)
	caller := app.caller("grouped")
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header["Ratelimit"]; got != nil {
		t.Errorf("no policy applies to the route, but RateLimit is %s", got)
	}
	order := `{"items":[{"product_id":"prd_0y5apuf8zs","quantity":1}],"email":"a@example.com","payment_token":"tok_ok"}`
	if got := caller.Post("/v1/orders", order).Want(http.StatusCreated).Header.Get("RateLimit"); got != `"writes";r=0;t=60` {
		t.Errorf("RateLimit %s; an order costs 5", got)
	}
	caller.Post("/v1/orders", order).Want(http.StatusTooManyRequests)
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestWhatCostsMoreThanTheCapacityIsRefusedForGood(t *testing.T) {
	app := newApp(t)
	app.plan("tiny", `[{"name":"tiny","algorithm":"fixed_window","limit":4,"period":"1m"}]`)
	refused := app.caller("tiny").Post("/v1/orders", `{}`).Want(http.StatusTooManyRequests)
	if got, there := refused.Header["Retry-After"]; there {
		t.Errorf("Retry-After %s; waiting doesn't help", got)
	}
	if !strings.Contains(string(refused.Body), `"retry_after":null`) {
		t.Errorf("body %s; want retry_after null", refused.Body)
	}
}

func TestFaultsOfTheCallerAreChargedByRequestsAndRefundedBySuccesses(t *testing.T) {
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
			t.Errorf("%s: RateLimit %s; want %s", step.path, got, step.limits)
		}
	}
	app.exec(`ALTER TABLE products RENAME TO hidden`)
	if got := caller.Get("/v1/products").Want(500).Header.Get("RateLimit"); got != `"requests";r=97;t=60, "successes";r=99;t=60` {
		t.Errorf("RateLimit %s; a 500 is refunded", got)
	}
}

func TestAMissingScopeIsChargedAndNamed(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free", models.ScopeProductsRead)
	answer := caller.Get("/v1/orders").Want(http.StatusForbidden)
	if !strings.Contains(string(answer.Body), "orders:read") {
		t.Errorf("the problem doesn't name the scope: %s", answer.Body)
	}
	if got := answer.Header.Get("RateLimit"); !strings.HasPrefix(got, `"burst";r=19;`) {
		t.Errorf("RateLimit %s; a 403 is charged", got)
	}
}

func TestAConcurrencySlotIsHeldUntilTheRequestHasEnded(t *testing.T) {
	app := newApp(t)
	app.plan("parallel", `[{"name":"parallel","algorithm":"concurrency","limit":1}]`)
	caller := app.caller("parallel")
	for range 3 { // each frees its slot
		answer := caller.Get("/v1/products").Want(http.StatusOK)
		if got := answer.Header.Get("RateLimit-Policy"); got != `"parallel";q=1;qu="concurrent-requests"` {
			t.Errorf("RateLimit-Policy %s", got)
		}
		if got := answer.Header.Get("RateLimit"); got != `"parallel";r=0` {
			t.Errorf("RateLimit %s", got)
		}
	}
	caller.Get("/v1/products/none").Want(http.StatusNotFound)
	caller.Get("/v1/products").Want(http.StatusOK)

	// A request that hangs in the database holds its slot.
	locked, unlock := app.lock("products")
	defer unlock()
	held := make(chan int)
	go func() { held <- caller.Get("/v1/products").Status }()
	locked()
	refused := caller.Get("/v1/products").Want(http.StatusTooManyRequests)
	if got := refused.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %s; want 1", got)
	}
	unlock()
	if status := <-held; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	caller.Get("/v1/products").Want(http.StatusOK)
}

func TestACallerWhoHangsUpHasBeenCharged(t *testing.T) {
	app := newApp(t)
	app.plan("hourly", `[{"name":"hourly","algorithm":"fixed_window","limit":100,"period":"1h"}]`)
	key := app.key(models.NewKey{Plan: "hourly"})
	locked, unlock := app.lock("products")
	defer unlock()
	ctx, hangUp := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, app.Base()+"/v1/orders", strings.NewReader(order(`{"product_id":"prd_0y5apuf8zs","quantity":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"X-Api-Key": {key}, "Content-Type": {"application/json"}}
	gone := make(chan error)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			err = answer.Body.Close()
		}
		gone <- err
	}()
	locked()
	hangUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller got %v", err)
	}
	unlock()
	caller := app.As(key)
	app.await("the order is placed all the same", func() bool {
		return strings.Contains(string(caller.Get("/v1/orders").Want(http.StatusOK).Body), `"pending"`)
	})
	app.await("its line is logged", func() bool { return strings.Contains(app.log.String(), `"route":"/v1/orders","status":201`) })
	asked := strings.Count(app.log.String(), `"method":"GET"`)
	want := fmt.Sprintf(`"hourly";r=%d;`, 100-5-asked-1)
	if got := caller.Get("/v1/orders").Header.Get("RateLimit"); !strings.HasPrefix(got, want) {
		t.Errorf("RateLimit %s; want %s", got, want)
	}
}

func TestAHungDatabaseIsA503WithinTheDeadline(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	caller.Get("/v1/products").Want(http.StatusOK)
	router := gin.New()
	router.Use(middleware.Begin(), middleware.RenderErrors(), middleware.Deadline(50*time.Millisecond))
	router.GET("/hang", func(c *gin.Context) {
		_, err := app.db.Exec(c.Request.Context(), `SELECT pg_sleep(60)`)
		middleware.Fail(c, postgres.Classify("hang", err))
	})
	answer := testkit.Serve(t, router).Undescribed("a route of this test alone").Get("/hang").Want(http.StatusServiceUnavailable)
	if answer.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestTheLegacyFieldsTellTheTightestPolicy(t *testing.T) {
	for fields, want := range map[middleware.Fields][]bool{middleware.FieldsLegacy: {false, true}, middleware.FieldsBoth: {true, true}} {
		app := newApp(t, withFields(fields))
		header := app.caller("free").Get("/v1/products").Want(http.StatusOK).Header
		if (header.Get("RateLimit") != "") != want[0] || (header.Get("RateLimit-Policy") != "") != want[0] {
			t.Errorf("%s: header %v", fields, header)
		}
		if got := header.Get("X-RateLimit-Limit") + " " + header.Get("X-RateLimit-Remaining") + " " + header.Get("X-RateLimit-Reset"); got != "20 19 1" {
			t.Errorf("%s: X-RateLimit-Limit, -Remaining, -Reset are %s; want 20 19 1", fields, got)
		}
	}
}

func TestASlotIsFreedByACallerWhoHangsUp(t *testing.T) {
	app := newApp(t)
	app.plan("parallel", `[{"name":"parallel","algorithm":"concurrency","limit":1,"hold":"1h"}]`)
	key := app.key(models.NewKey{Plan: "parallel"})
	locked, unlock := app.lock("products")
	defer unlock()
	ctx, hangUp := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, app.Base()+"/v1/products", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", key)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if answer, err := http.DefaultClient.Do(request); err == nil {
			_ = answer.Body.Close()
		}
	}()
	locked()
	app.As(key).Get("/v1/orders").Want(http.StatusTooManyRequests)
	hangUp()
	<-gone
	app.await("the slot is free", func() bool { return app.As(key).Get("/v1/orders").Status == http.StatusOK })
}

func TestAQueueThatIsTooLongToWaitInIsA429(t *testing.T) {
	app := newApp(t)
	app.plan("queue", `[{"name":"queue","algorithm":"leaky_bucket","limit":2,"period":"1m","max_wait":"1m"}]`)
	caller := app.caller("queue")
	caller.Get("/v1/products").Want(http.StatusOK)
	var problem middleware.QuotaProblem
	caller.Get("/v1/products").Want(http.StatusTooManyRequests).JSON(&problem) // its turn is in 30 s
	if strings.Join(problem.ViolatedPolicies, ",") != "queue" || problem.RetryAfter == nil || *problem.RetryAfter != 20 {
		t.Errorf("problem %+v", problem)
	}
	app.clock.Advance(30 * time.Second)
	caller.Get("/v1/products").Want(http.StatusOK) // the refused one has left the queue
}
