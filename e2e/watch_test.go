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

// The bounds that the design publishes.
const (
	boundHeard = 2 * time.Second  // with notifications
	boundLost  = 10 * time.Second // without them
)

// twoApps are two instances on one database, which watch for changes.
func twoApps(t *testing.T, options ...appOption) [2]*testApp {
	t.Helper()
	options = append(options, onDatabase(testkit.DatabaseURL(t)), watching())
	return [2]*testApp{newApp(t, options...), newApp(t, options...)}
}

// propagation is how long changes took until they were in force.
type propagation struct {
	mu    sync.Mutex
	times []time.Duration
}

func (p *propagation) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times = append(p.times, d)
}

// within fails the test if a change took longer than bound, or if there are not
// as many as wanted, and logs p50 and max.
func (p *propagation) within(t *testing.T, what string, want int, bound time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.times)
	if len(p.times) != want {
		t.Fatalf("%s: %d of %d are in force", what, len(p.times), want)
	}
	p50, longest := p.times[len(p.times)/2], p.times[len(p.times)-1]
	t.Logf("%s: %d in force after p50 %s, max %s", what, len(p.times), p50.Round(100*time.Microsecond), longest.Round(100*time.Microsecond))
	if longest > bound {
		t.Errorf("%s: the slowest took %s; the bound is %s", what, longest, bound)
	}
}

// until polls until happened, and gives up after a while.
func until(happened func() bool) bool {
	for deadline := time.Now().Add(boundLost + 2*time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if happened() {
			return true
		}
	}
	return false
}

// status is what the app answers a key. An address that failed too often is
// forgiven, for it is that of all these tests' callers.
func (a *testApp) status(key string) int {
	status := a.As(key).Get("/v1/products/prd_none").Status
	if status == http.StatusTooManyRequests {
		a.clock.Advance(time.Minute)
	}
	return status
}

// revoke revokes keys through the admin's app, a few at once, and measures as
// changeAll does.
func revoke(admin *testkit.Client, keys []string, apps ...*testApp) *propagation {
	return changeAll(keys, apps, func(key string) {
		admin.Post("/v1/admin/keys/"+idOf(key)+"/revoke", nil).Want(http.StatusOK)
	}, isRevoked)
}

func isRevoked(app *testApp, key string) bool { return app.status(key) == http.StatusUnauthorized }

// changeAll changes keys, a few at once, and measures from before each change is
// made until it is in force with every app, the slowest.
func changeAll(keys []string, apps []*testApp, change func(key string), inForce func(app *testApp, key string) bool) *propagation {
	const atOnce = 8
	measured := &propagation{}
	work := make(chan string)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for key := range work {
				changedAt := time.Now()
				change(key)
				if !slices.ContainsFunc(apps, func(app *testApp) bool {
					return !until(func() bool { return inForce(app, key) })
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

// warmKeys makes keys that every app has in memory, and not to be told of any
// more.
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

// settle waits until every app has read all changes that were made: the log is
// read in order, so it makes one more and waits for that.
func settle(apps ...*testApp) {
	last := apps[0].key(models.NewKey{Plan: "internal"})
	for _, app := range apps {
		app.As(last).Get("/v1/products/prd_none").Want(http.StatusNotFound)
	}
	apps[0].exec(`UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1`, idOf(last))
	apps[0].exec(`SELECT pg_notify('ratelimiter_changes', '')`)
	for _, app := range apps {
		app.await("the changes so far are read", func() bool { return app.status(last) == http.StatusUnauthorized })
	}
}

// idOf is the id in a key's text.
func idOf(key string) string { return strings.Split(key, "_")[2][:12] }

// load keeps callers busy with every app until stop, which waits for them.
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

func TestTwoHundredRevocationsAndLimitChangesAreInForceOnBothInstances(t *testing.T) {
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
	limits.within(t, "limit changes", changes, boundHeard)
	revoke(admin, keys, apps[:]...).within(t, "revocations", changes, boundHeard)
}

func TestAPlansChangeIsInForceOnTheOtherInstance(t *testing.T) {
	apps := twoApps(t)
	apps[0].plan("team", `[{"name":"a","algorithm":"fixed_window","limit":10,"period":"1m"}]`)
	caller := apps[0].key(models.NewKey{Plan: "team"})
	apps[1].As(caller).Get("/v1/products").Want(http.StatusOK)
	measured := changeAll([]string{caller}, apps[1:], func(string) {
		apps[0].admin().Do(http.MethodPut, "/v1/admin/plans/team", `{"policies":[{"name":"a","algorithm":"fixed_window","limit":20,"period":"1m"}]}`).Want(http.StatusOK)
	}, func(app *testApp, key string) bool {
		return app.As(key).Get("/v1/products").Header.Get("RateLimit-Policy") == `"a";q=20;w=60`
	})
	measured.within(t, "a plan's change", 1, boundHeard)
}

// listeners are the backends that listen for changes in the app's database.
const listeners = `FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'ratelimiter listens%'`

func TestChangesAreInForceThoughTheListenersAreKilledAgainAndAgain(t *testing.T) {
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
	t.Logf("%d connections were killed", killed)
	if killed < 2 {
		t.Errorf("only %d connections were killed", killed)
	}
	measured.within(t, "revocations while listeners are killed", changes, boundLost)
	apps[0].await("both listen again", func() bool {
		var n int
		err := apps[0].db.QueryRow(t.Context(), `SELECT count(*) `+listeners).Scan(&n)
		return err == nil && n == 2
	})
}

// throughProxy is a pool on the database whose connections pass a proxy.
func throughProxy(t *testing.T, address string) (*pgxpool.Pool, *testkit.Proxy) {
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

func TestChangesAreInForceThoughTheListenerIsSilentlyCutOff(t *testing.T) {
	const changes = 20
	address := testkit.DatabaseURL(t)
	pool, proxy := throughProxy(t, address)
	apps := [2]*testApp{
		newApp(t, onDatabase(address), watching()),
		newApp(t, onDatabase(address), watchingThrough(pool)),
	}
	keys := warmKeys(2*changes, "internal", apps[:]...)
	admin := apps[0].admin()
	for i, part := range [][]string{keys[:changes], keys[changes:]} {
		proxy.Hang() // what is connected; what connects anew passes
		revoke(admin, part, apps[:]...).within(t, fmt.Sprintf("revocations while the listener hangs, %d.", i+1), changes, boundLost)
	}
}

func TestNotificationsThatAreLostAreMadeUpForByTheLog(t *testing.T) {
	apps := twoApps(t)
	keys := warmKeys(8, "internal", apps[:]...)
	// Nobody tells: as if the writer had died between commit and notification.
	measured := changeAll(keys, apps[:], func(key string) {
		apps[0].exec(`UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1`, idOf(key))
	}, isRevoked)
	measured.within(t, "revocations that nobody tells", len(keys), boundLost)
}

func TestAChangeThatCommitsLateIsSeen(t *testing.T) {
	apps := twoApps(t)
	keys := warmKeys(3, "internal", apps[:]...)
	late, err := apps[0].db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(t.Context(), `UPDATE api_keys SET revoked_at = now() WHERE id = $1`, idOf(keys[0])); err != nil {
		t.Fatal(err)
	}
	// Others come after it and commit before: readers who go by the highest
	// number that they have seen would pass it by.
	revoke(apps[0].admin(), keys[1:], apps[:]...).within(t, "revocations beside an open one", 2, boundHeard)
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	changeAll(keys[:1], apps[:], func(string) {}, isRevoked).within(t, "a late commit", 1, boundLost)
}

func TestANewKeyWorksAtOnceThoughItsIDWasAskedForBefore(t *testing.T) {
	apps := twoApps(t)
	admin := apps[0].admin()
	// A key that isn't there yet: it was, and is put back.
	key := apps[0].key(models.NewKey{Plan: "internal"})
	apps[0].exec(`CREATE TABLE aside AS SELECT * FROM api_keys WHERE plan = 'internal' AND name = $1 AND NOT 'admin' = ANY(scopes)`, t.Name())
	apps[0].exec(`DELETE FROM api_keys WHERE id IN (SELECT id FROM aside)`)
	admin.Get("/v1/products").Want(http.StatusOK)
	settle(apps[:]...) // so that no news of the deletion makes anybody forget
	for _, app := range apps {
		app.As(key).Get("/v1/products").Want(http.StatusUnauthorized) // remembered for five seconds
	}
	tx, err := apps[0].db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO api_keys SELECT * FROM aside`); err != nil {
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
		within(t, "a new key", 1, boundHeard)
}

func TestClosingTheServicesLeavesNothingRunning(t *testing.T) {
	address := testkit.DatabaseURL(t)
	before := goleak.IgnoreCurrent()
	t.Run("an app", func(t *testing.T) {
		app := newApp(t, onDatabase(address), watching())
		app.admin().Get("/v1/products").Want(http.StatusOK)
	})
	goleak.VerifyNone(t, before)
}

func TestLastUsedIsNoChange(t *testing.T) {
	app := newApp(t)
	app.key(models.NewKey{Plan: "internal"})
	logged := func() (n int) {
		if err := app.db.QueryRow(t.Context(), `SELECT count(*) FROM changes`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := logged()
	app.exec(`UPDATE api_keys SET last_used_at = now()`)
	if got := logged(); got != before {
		t.Errorf("last_used_at made %d changes", got-before)
	}
	app.exec(`UPDATE api_keys SET last_used_at = now(), name = 'x'`)
	if got := logged(); got != before+1 {
		t.Errorf("a new name made %d changes; want 1", got-before)
	}
}
