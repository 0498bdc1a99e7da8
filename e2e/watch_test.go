package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// Documented bounds of the propagation time.
const (
	boundNotified = 2 * time.Second  // with notifications
	boundPolling  = 10 * time.Second // without notifications
)

// twoApps returns two instances on one database that follow its changes.
func twoApps(t *testing.T, options ...appOption) [2]*testApp {
	t.Helper()
	options = append(options, onDatabase(testkit.DatabaseURL(t)), watching())
	return [2]*testApp{newApp(t, options...), newApp(t, options...)}
}

// propagation collects the propagation times of changes.
type propagation struct {
	mu    sync.Mutex
	times []time.Duration
}

func (p *propagation) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times = append(p.times, d)
}

// within fails the test unless there are exactly want times, all within bound. It
// logs p50 and max.
func (p *propagation) within(t *testing.T, what string, want int, bound time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.times)
	if len(p.times) != want {
		t.Fatalf("%s: got %d of %d in force", what, len(p.times), want)
	}
	p50, slowest := p.times[len(p.times)/2], p.times[len(p.times)-1]
	t.Logf("%s: %d in force after p50 %s, max %s", what, len(p.times), p50.Round(100*time.Microsecond), slowest.Round(100*time.Microsecond))
	if slowest > bound {
		t.Errorf("%s: slowest took %s; want at most %s", what, slowest, bound)
	}
}

// poll polls a condition and reports whether it held within boundPolling and two
// seconds.
func poll(holds func() bool) bool {
	for deadline := time.Now().Add(boundPolling + 2*time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

// status returns the status of a request with key. It resets the failure limiter
// if that blocks the address, which all requests share.
func (a *testApp) status(key string) int {
	status := a.As(key).Get("/v1/products/prd_none").Status
	if status == http.StatusTooManyRequests {
		a.clock.Advance(time.Minute)
	}
	return status
}

// revoke revokes keys and measures the propagation like changeAll.
func revoke(admin *testkit.Client, keys []string, apps ...*testApp) *propagation {
	return changeAll(keys, apps, func(key string) {
		admin.Post("/v1/admin/keys/"+idOf(key)+"/revoke", nil).Want(http.StatusOK)
	}, isRevoked)
}

func isRevoked(app *testApp, key string) bool { return app.status(key) == http.StatusUnauthorized }

// changeAll changes keys concurrently. It measures the time from before each change
// until it is in force on every app.
func changeAll(keys []string, apps []*testApp, change func(key string), inForce func(app *testApp, key string) bool) *propagation {
	const concurrency = 8
	measured := &propagation{}
	work := make(chan string)
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for key := range work {
				changedAt := time.Now()
				change(key)
				if !slices.ContainsFunc(apps, func(app *testApp) bool {
					return !poll(func() bool { return inForce(app, key) })
				}) {
					measured.add(time.Since(changedAt))
				}
			}
		})
	}
	for _, key := range keys {
		work <- key
	}
	close(work)
	workers.Wait()
	return measured
}

// warmKeys creates keys that every app has cached, without pending invalidations.
func warmKeys(n int, plan string, apps ...*testApp) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = apps[0].key(models.NewKey{Plan: plan})
	}
	settle(apps...)
	for _, key := range keys {
		for _, app := range apps {
			app.As(key).Get("/v1/products/prd_none").Want(http.StatusNotFound)
		}
	}
	return keys
}

// settle waits until every app has processed all changes so far: it makes another
// change and waits for it, as changes are processed in order.
func settle(apps ...*testApp) {
	last := apps[0].key(models.NewKey{Plan: "internal"})
	for _, app := range apps {
		app.As(last).Get("/v1/products/prd_none").Want(http.StatusNotFound)
	}
	apps[0].exec(`UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1`, idOf(last))
	apps[0].exec(`SELECT pg_notify('ratelimiter_changes', '')`)
	for _, app := range apps {
		app.await("all changes are processed", func() bool { return app.status(last) == http.StatusUnauthorized })
	}
}

// idOf returns the ID in the text of a key.
func idOf(key string) string { return strings.Split(key, "_")[2][:12] }

// load sends requests to every app until stop is called.
func load(key string, apps ...*testApp) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, app := range apps {
		for range 2 {
			callers.Go(func() {
				for ctx.Err() == nil {
					app.status(key)
				}
			})
		}
	}
	return func() { cancel(); callers.Wait() }
}

func TestPropagation_key_changes(t *testing.T) {
	t.Parallel()
	const changes = 200
	apps := twoApps(t)
	keys := warmKeys(changes, "internal", apps[:]...)
	admin := apps[0].admin()
	defer load(apps[0].key(models.NewKey{Plan: "internal"}), apps[:]...)()

	limits := changeAll(keys, apps[:], func(key string) {
		admin.Do(http.MethodPatch, "/v1/admin/keys/"+idOf(key), `{"overrides":[{"policy":{"name":"new","algorithm":"fixed_window","limit":7,"period":"1m"},"reason":"test"}]}`,
			"Content-Type", "application/merge-patch+json").Want(http.StatusOK)
	}, func(app *testApp, key string) bool {
		return strings.Contains(app.As(key).Get("/v1/me/limits").Header.Get("RateLimit-Policy"), `"new";q=7`)
	})
	limits.within(t, "limit changes", changes, boundNotified)
	revoke(admin, keys, apps[:]...).within(t, "revocations", changes, boundNotified)
}

func TestPropagation_plan_change(t *testing.T) {
	apps := twoApps(t)
	apps[0].plan("team", `[{"name":"a","algorithm":"fixed_window","limit":10,"period":"1m"}]`)
	caller := apps[0].key(models.NewKey{Plan: "team"})
	apps[1].As(caller).Get("/v1/products").Want(http.StatusOK)
	measured := changeAll([]string{caller}, apps[1:], func(string) {
		apps[0].admin().Do(http.MethodPut, "/v1/admin/plans/team", `{"policies":[{"name":"a","algorithm":"fixed_window","limit":20,"period":"1m"}]}`).Want(http.StatusOK)
	}, func(app *testApp, key string) bool {
		return app.As(key).Get("/v1/products").Header.Get("RateLimit-Policy") == `"a";q=20;w=60`
	})
	measured.within(t, "plan change", 1, boundNotified)
}

// listeners selects the connections that listen for changes.
const listeners = `FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'ratelimiter listens%'`

func TestPropagation_listeners_killed(t *testing.T) {
	t.Parallel()
	const changes = 40
	apps := twoApps(t)
	keys := warmKeys(changes, "internal", apps[:]...)
	admin := apps[0].admin()
	ctx, cancel := context.WithCancel(t.Context())
	killed := 0
	var killer sync.WaitGroup
	killer.Go(func() {
		for ctx.Err() == nil {
			var n int
			_ = apps[0].db.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) `+listeners).Scan(&n)
			killed += n
			time.Sleep(100 * time.Millisecond)
		}
	})
	measured := revoke(admin, keys, apps[:]...)
	cancel()
	killer.Wait()
	t.Logf("killed %d connections", killed)
	if killed < 2 {
		t.Errorf("killed %d connections; want at least 2", killed)
	}
	measured.within(t, "revocations while listeners are killed", changes, boundPolling)
	apps[0].await("both instances listen", func() bool {
		var n int
		err := apps[0].db.QueryRow(t.Context(), `SELECT count(*) `+listeners).Scan(&n)
		return err == nil && n == 2
	})
}

// proxiedPool returns a pool that connects through a proxy.
func proxiedPool(t *testing.T, address string) (*pgxpool.Pool, *testkit.Proxy) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testkit.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	pool, err := postgres.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, proxy
}

func TestPropagation_listener_hangs(t *testing.T) {
	t.Parallel()
	const changes = 20
	address := testkit.DatabaseURL(t)
	pool, proxy := proxiedPool(t, address)
	apps := [2]*testApp{
		newApp(t, onDatabase(address), watching()),
		newApp(t, onDatabase(address), watchingThrough(pool)),
	}
	keys := warmKeys(2*changes, "internal", apps[:]...)
	admin := apps[0].admin()
	for i, part := range [][]string{keys[:changes], keys[changes:]} {
		proxy.Hang() // affects current connections only
		revoke(admin, part, apps[:]...).within(t, fmt.Sprintf("revocations while the listener hangs, round %d", i+1), changes, boundPolling)
	}
}

func TestPropagation_without_notification(t *testing.T) {
	t.Parallel()
	apps := twoApps(t)
	keys := warmKeys(8, "internal", apps[:]...)
	// As if the writer had crashed between commit and notification.
	measured := changeAll(keys, apps[:], func(key string) {
		apps[0].exec(`UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1`, idOf(key))
	}, isRevoked)
	measured.within(t, "revocations without notification", len(keys), boundPolling)
}

func TestPropagation_late_commit(t *testing.T) {
	t.Parallel()
	apps := twoApps(t)
	keys := warmKeys(3, "internal", apps[:]...)
	late, err := apps[0].db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(t.Context(), `UPDATE api_keys SET revoked_at = now() WHERE id = $1`, idOf(keys[0])); err != nil {
		t.Fatal(err)
	}
	// Later changes commit first: a reader that remembers only the highest number
	// would miss the open one.
	revoke(apps[0].admin(), keys[1:], apps[:]...).within(t, "revocations during an open transaction", 2, boundNotified)
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	changeAll(keys[:1], apps[:], func(string) {}, isRevoked).within(t, "late commit", 1, boundPolling)
}

func TestPropagation_key_cached_as_unknown(t *testing.T) {
	apps := twoApps(t)
	admin := apps[0].admin()
	// Simulate a key that doesn't exist yet: remove it and insert it again below.
	key := apps[0].key(models.NewKey{Plan: "internal"})
	apps[0].exec(`CREATE TABLE removed AS SELECT * FROM api_keys WHERE plan = 'internal' AND name = $1 AND NOT 'admin' = ANY(scopes)`, t.Name())
	apps[0].exec(`DELETE FROM api_keys WHERE id IN (SELECT id FROM removed)`)
	admin.Get("/v1/products").Want(http.StatusOK)
	settle(apps[:]...) // process the deletion
	for _, app := range apps {
		app.As(key).Get("/v1/products").Want(http.StatusUnauthorized) // cached for five seconds
	}
	tx, err := apps[0].db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO api_keys SELECT * FROM removed`); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT pg_notify('ratelimiter_changes', '')`); err != nil {
		t.Fatal(err)
	}
	changeAll([]string{key}, apps[:], func(string) {
		if err := tx.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	}, func(app *testApp, key string) bool { return app.status(key) == http.StatusNotFound }).
		within(t, "new key", 1, boundNotified)
}

func TestApp_Stop_leaks_no_goroutines(t *testing.T) {
	address := testkit.DatabaseURL(t)
	before := goleak.IgnoreCurrent()
	t.Run("app", func(t *testing.T) {
		app := newApp(t, onDatabase(address), watching())
		app.admin().Get("/v1/products").Want(http.StatusOK)
	})
	goleak.VerifyNone(t, before)
}

func TestChangeLog_ignores_last_used_at(t *testing.T) {
	app := newApp(t)
	app.key(models.NewKey{Plan: "internal"})
	logged := func() int { return app.count(`SELECT count(*) FROM changes`) }
	before := logged()
	app.exec(`UPDATE api_keys SET last_used_at = now()`)
	if got := logged(); got != before {
		t.Errorf("last_used_at: got %d changes; want none", got-before)
	}
	app.exec(`UPDATE api_keys SET last_used_at = now(), name = 'x'`)
	if got := logged(); got != before+1 {
		t.Errorf("new name: got %d changes; want 1", got-before)
	}
}
