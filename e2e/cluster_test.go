package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// newInstances returns n servers that share a database and a Redis server.
func newInstances(t *testing.T, n int, options ...appOption) ([]*testApp, *testkit.RedisServer) {
	t.Helper()
	redis, database := testkit.Redis(t), testkit.DatabaseURL(t)
	apps := make([]*testApp, n)
	for i := range apps {
		apps[i] = newApp(t, append(options, onDatabase(database), withRedis(redis.URL()), onWallClock())...)
	}
	return apps, redis
}

// spend sends n requests to each server at once and returns how many were admitted.
// Other statuses than 200 and 429 are errors.
func spend(t *testing.T, apps []*testApp, key string, n int) int {
	t.Helper()
	var admitted atomic.Int64
	var senders sync.WaitGroup
	for _, app := range apps {
		for range n {
			senders.Go(func() {
				switch status := app.As(key).Get("/v1/products").Status; status {
				case http.StatusOK:
					admitted.Add(1)
				case http.StatusTooManyRequests:
				default:
					t.Errorf("got status %d; want 200 or 429", status)
				}
			})
		}
	}
	senders.Wait()
	return int(admitted.Load())
}

const sixtyAnHour = `[{"name":"hourly","algorithm":"%s","limit":60,"period":"1h"}]`

func TestCluster_one_quota(t *testing.T) {
	apps, _ := newInstances(t, 3, withPatience())
	for _, algorithm := range []string{"fixed_window", "sliding_window", "token_bucket", "sliding_log"} {
		t.Run(algorithm, func(t *testing.T) {
			plan := strings.ReplaceAll(algorithm, "_", "-")
			apps[0].plan(plan, fmt.Sprintf(sixtyAnHour, algorithm))
			key := apps[0].key(models.NewKey{Plan: plan})
			if got := spend(t, apps, key, 50); got != 60 {
				t.Errorf("got %d admitted; want 60", got)
			}
			field := apps[2].As(key).Get("/v1/me/limits").Want(http.StatusOK)
			var limits struct{ Data []limitState }
			field.JSON(&limits)
			if len(limits.Data) != 1 || limits.Data[0].Remaining != 0 {
				t.Errorf("got %+v; want 0 remaining", limits.Data)
			}
		})
	}
}

func TestCluster_reset(t *testing.T) {
	apps, _ := newInstances(t, 2)
	apps[0].plan("hourly", hourly)
	key := apps[0].key(models.NewKey{Plan: "hourly"})
	if got := spend(t, apps, key, 6); got != 10 {
		t.Errorf("got %d admitted; want 10", got)
	}
	apps[1].admin().Do(http.MethodPost, "/v1/admin/keys/"+idOf(key)+"/reset", `{"policies":["hourly"]}`).Want(http.StatusNoContent)
	if got := spend(t, apps, key, 6); got != 10 {
		t.Errorf("after a reset: got %d admitted; want 10", got)
	}
}

// Counters of another owner are elsewhere.
func TestCluster_moved_to_another_owner(t *testing.T) {
	apps, _ := newInstances(t, 2)
	apps[0].plan("hourly", hourly)
	key := apps[0].key(models.NewKey{Plan: "hourly", Owner: "before"})
	if got := spend(t, apps[:1], key, 12); got != 10 {
		t.Errorf("got %d admitted; want 10", got)
	}
	apps[0].admin().Do(http.MethodPatch, "/v1/admin/keys/"+idOf(key), `{"owner":"after"}`).Want(http.StatusOK)
	if got := spend(t, apps[:1], key, 12); got != 10 {
		t.Errorf("after the move: got %d admitted; want 10", got)
	}
}

func TestCluster_reservations(t *testing.T) {
	apps, _ := newInstances(t, 3)
	apps[0].plan("mixed", `[{"name":"hourly","algorithm":"fixed_window","limit":10,"period":"1h"},
		{"name":"monthly","algorithm":"calendar","limit":100000,"period":"month"},{"name":"parallel","algorithm":"concurrency","limit":3}]`)
	var callers []*testkit.Client
	for _, app := range apps {
		callers = append(callers, checker(app, "me"))
	}
	decide(callers[1], "reserve", "tenant", "mixed", 1) // holds a lease of the month
	remaining := func() (left [3]int64) {
		for i, l := range decide(callers[1], "reserve", "tenant", "mixed", 0).Limits {
			left[i] = l.Remaining
		}
		return left
	}
	before := remaining()
	reserved := decide(callers[0], "reserve", "tenant", "mixed", 6)
	if got := remaining(); got[0] != 3 || got[2] != 1 {
		t.Errorf("got %v remaining; want 3 units and 1 slot", got)
	}
	commit := map[string]any{"reservation": *reserved.Reservation, "cost": 2}
	checker(apps[1], "you").Post("/v1/limits/commit", commit).Want(http.StatusNotFound)
	callers[1].Post("/v1/limits/commit", commit).Want(http.StatusNoContent)
	if got := remaining(); got[0] != before[0]-2 || got[2] != before[2] {
		t.Errorf("got %v remaining; want %d units and %d slots", got, before[0]-2, before[2])
	}
	release := map[string]any{"reservation": *reserved.Reservation}
	for _, caller := range callers {
		caller.Post("/v1/limits/release", release).Want(http.StatusNotFound)
	}

	second := decide(callers[0], "reserve", "tenant", "mixed", 5)
	release["reservation"] = *second.Reservation
	var released atomic.Int64
	var calls sync.WaitGroup
	for i := range 30 {
		calls.Go(func() {
			if callers[i%3].Post("/v1/limits/release", release).Status == http.StatusNoContent {
				released.Add(1)
			}
		})
	}
	calls.Wait()
	if got := remaining(); released.Load() != 1 || got[0] != before[0]-2 {
		t.Errorf("got %d releases, %v remaining; want 1 and %d", released.Load(), got, before[0]-2)
	}
}

// TestCluster_slots checks that slots are counted over instances and are free after
// each request, however it ends.
func TestCluster_slots(t *testing.T) {
	apps, redis := newInstances(t, 2)
	apps[0].plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2}]`)
	key := apps[0].key(models.NewKey{Plan: "slots", Scopes: []models.Scope{models.ScopeOrdersRead, models.ScopeOrdersWrite, models.ScopeProductsRead}})
	locked, unlock := apps[0].lock("orders")
	defer unlock()
	hangUp := apps[0].startRequest(key, http.MethodGet, "/v1/orders", "")
	locked()
	var waiting sync.WaitGroup
	waiting.Go(func() { apps[1].As(key).Get("/v1/orders").Want(http.StatusOK) })
	free := func() int64 {
		var limits struct{ Data []limitState }
		apps[1].As(key).Get("/v1/me/limits").Want(http.StatusOK).JSON(&limits)
		return limits.Data[0].Remaining
	}
	apps[1].await("the second slot is taken", func() bool { return free() == 0 })
	for _, app := range apps {
		app.As(key).Get("/v1/products").Want(http.StatusTooManyRequests)
	}
	hangUp()
	unlock()
	waiting.Wait()
	for _, path := range []string{"/v1/products", "/v1/nothing", "/v1/orders/none", "/v1/products?limit=x"} {
		apps[0].As(key).Get(path) // 200, 404, 404 and 422
	}
	apps[0].await("both slots are free", func() bool { return free() == 2 })
	if redis.Do("DBSIZE") == "" {
		t.Error("no counter is in Redis")
	}
}

// TestCluster_Redis_lost checks that requests are decided while Redis is down, at
// start too, and together again when it is back.
func TestCluster_Redis_lost(t *testing.T) {
	t.Parallel()
	apps, redis := newInstances(t, 2, withPatience())
	apps[0].plan("hourly", fmt.Sprintf(sixtyAnHour, "fixed_window"))
	key := apps[0].key(models.NewKey{Plan: "hourly"})
	for _, app := range apps {
		app.await("both instances are counted", func() bool { return app.metric("ratelimiter_instances") == "2" })
	}
	admitted := spend(t, apps, key, 5)
	redis.Kill()
	// Shares are estimates, by few requests.
	if admitted += spend(t, apps, key, 60); admitted > 70 || admitted < 50 {
		t.Errorf("got %d admitted before and during the outage; want about 60", admitted)
	}
	// One that knows nothing has its share of the whole.
	late := newApp(t, onDatabase(apps[0].db.Config().ConnString()), withRedis(redis.URL()), onWallClock(), withPatience())
	if got := spend(t, []*testApp{late}, key, 60); got == 0 || got > 20 {
		t.Errorf("got %d admitted by an instance that starts in the outage; want 1 to 20", got)
	}
	apps = append(apps, late)
	for _, app := range apps {
		if got := app.metric(`ratelimiter_redis_up{of="keys"}`); got != "0" {
			t.Errorf("got redis_up %s; want 0", got)
		}
	}
	redis.Start() // empty
	for _, app := range apps {
		app.await("Redis is in use again", func() bool {
			spend(t, []*testApp{app}, key, 1)
			return app.metric(`ratelimiter_redis_up{of="keys"}`) == "1"
		})
	}
	if got := strings.Count(apps[0].log.String(), "deciding alone"); got != 1 {
		t.Errorf("got %d log lines about the loss; want 1: %s", got, apps[0].log.String())
	}
	if !strings.Contains(apps[0].log.String(), "is back") {
		t.Error("no log line says that Redis is back")
	}
	fresh := apps[0].key(models.NewKey{Plan: "hourly"})
	if got := spend(t, apps, fresh, 40); got != 60 {
		t.Errorf("after the outage: got %d admitted; want 60", got)
	}
}

func TestCluster_reservation_while_Redis_is_down(t *testing.T) {
	apps, redis := newInstances(t, 2)
	apps[0].plan("hourly", hourly)
	a, b := checker(apps[0], "me"), checker(apps[1], "me")
	early := decide(a, "reserve", "tenant", "hourly", 2)
	redis.Pause()
	for range 5 { // the first requests find out
		decide(a, "check", "tenant", "hourly", 0)
	}
	late := decide(a, "reserve", "tenant", "hourly", 1)
	if late.Reservation == nil {
		t.Fatalf("got %+v; want a reservation", late)
	}
	release := func(what string, caller *testkit.Client, of checkResponse, want int) {
		t.Helper()
		if got := caller.Post("/v1/limits/release", map[string]any{"reservation": *of.Reservation}).Status; got != want {
			t.Errorf("%s: got %d; want %d", what, got, want)
		}
	}
	release("release elsewhere", b, late, http.StatusNotFound)
	release("release of what may be open", b, early, http.StatusServiceUnavailable)
	release("release where it was opened", a, early, http.StatusNoContent)
	release("release where it was opened", a, late, http.StatusNoContent)
	release("second release", a, late, http.StatusNotFound)
	redis.Continue()
	apps[0].await("the releases are in Redis", func() bool { return decide(b, "check", "tenant", "hourly", 0).Limits[0].Remaining == 10 })
	for _, caller := range []*testkit.Client{a, b} {
		release("release after the outage", caller, early, http.StatusNotFound)
		release("release after the outage", caller, late, http.StatusNotFound)
	}
	if got := decide(b, "check", "tenant", "hourly", 0).Limits[0].Remaining; got != 10 {
		t.Errorf("got %d remaining; want 10", got)
	}
}

func TestCluster_leased_sharing(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	policy := func(sharing string) string {
		return `{"policies":[{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","sharing":"` + sharing + `"}]}`
	}
	for _, sharing := range []string{"auto", "exact"} {
		admin.Do(put, "/v1/admin/plans/shared", policy(sharing)).Want([]int{http.StatusCreated, http.StatusOK}[map[string]int{"auto": 0, "exact": 1}[sharing]])
	}
	response := admin.Do(put, "/v1/admin/plans/shared", policy("leased"))
	if got := faultsOf(response); got != "/policies/0/sharing:not_allowed" || !strings.Contains(string(response.Body), "isn't available yet") {
		t.Errorf("got %s: %s", got, response.Body)
	}
	key := app.key(models.NewKey{})
	override := `{"overrides":[{"policy":{"name":"burst","algorithm":"token_bucket","limit":10,"period":"1s","sharing":"leased"}}]}`
	if got := faultsOf(admin.Do(http.MethodPatch, "/v1/admin/keys/"+idOf(key), override)); got != "/overrides/0/policy/sharing:not_allowed" {
		t.Errorf("override: got %s", got)
	}
	if got := faultsOf(admin.Do(http.MethodPost, "/v1/admin/keys/"+idOf(key)+"/simulate", policy("leased"))); got != "/policies/0/sharing:not_allowed" {
		t.Errorf("simulation: got %s", got)
	}
	// A stored one is exact.
	app.plan("stored", `[{"name":"hourly","algorithm":"fixed_window","limit":1,"period":"1h","sharing":"leased"}]`)
	stored := app.caller("stored")
	stored.Get("/v1/products").Want(http.StatusOK)
	stored.Get("/v1/products").Want(http.StatusTooManyRequests)
}

// TestCluster_metrics checks the metrics of calls.
func TestCluster_metrics(t *testing.T) {
	apps, _ := newInstances(t, 2)
	apps[0].plan("hourly", hourly)
	key := apps[0].key(models.NewKey{Plan: "hourly"})
	spend(t, apps[:1], key, 3)
	for name, want := range map[string]string{
		`ratelimiter_redis_up{of="keys"}`:                    "1",
		`ratelimiter_redis_up{of="checks"}`:                  "1",
		`ratelimiter_redis_call_seconds_count{call="take"}`:  "3",
		`ratelimiter_redis_decisions_alone_total{of="keys"}`: "0",
		`ratelimiter_redis_units_admitted_alone{of="keys"}`:  "0",
	} {
		if got := apps[0].metric(name); got != want {
			t.Errorf("%s: got %s; want %s", name, got, want)
		}
	}
	apps[0].await("both instances are counted", func() bool { return apps[0].metric("ratelimiter_instances") == "2" })
	if got := apps[0].log.String(); !strings.Contains(got, "appendonly is off") {
		t.Errorf("got log %s; want a warning about appendonly", got)
	}
}
