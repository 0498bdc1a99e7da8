package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// countingPool returns a pool that counts lookups of keys; a query may look up
// several.
func countingPool(t *testing.T, address string) (*pgxpool.Pool, *lookupCounter) {
	t.Helper()
	counter := &lookupCounter{}
	return tracedPool(t, address, counter), counter
}

// tracedPool returns a pool whose queries tracer sees.
func tracedPool(t testing.TB, address string, tracer pgx.QueryTracer) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type lookupCounter struct{ lookups atomic.Int64 }

func (c *lookupCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData) context.Context {
	if strings.Contains(query.SQL, "FROM api_keys k JOIN plans") {
		ids, _ := query.Args[len(query.Args)-1].([]string)
		c.lookups.Add(int64(len(ids)))
	}
	return ctx
}

func (*lookupCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestCache_parallel_misses_share_one_lookup(t *testing.T) {
	address := testkit.DatabaseURL(t)
	pool, counter := countingPool(t, address)
	app := newApp(t, onDatabase(address), withQuotaPool(pool))
	caller := app.caller("internal")
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() { caller.Get("/v1/products/prd_none").Want(http.StatusNotFound) })
	}
	calls.Wait()
	if n := counter.lookups.Load(); n != 1 {
		t.Fatalf("got %d lookups; want 1", n)
	}
}

// appBehindProxy returns an app that reads quotas through a proxy.
func appBehindProxy(t *testing.T, options ...appOption) (*testApp, *testkit.Proxy) {
	t.Helper()
	address := testkit.DatabaseURL(t)
	pool, proxy := proxiedPool(t, address)
	return newApp(t, append(options, onDatabase(address), withQuotaPool(pool))...), proxy
}

func TestCache_database_down(t *testing.T) {
	app, proxy := appBehindProxy(t, withCacheTTL(time.Nanosecond)) // entries are stale immediately
	known, unknown := app.caller("internal"), app.caller("internal")
	admin := app.As(app.key(models.NewKey{Admin: true}))
	known.Get("/v1/products").Want(http.StatusOK)
	admin.Get("/v1/products").Want(http.StatusOK)

	proxy.Cut()
	known.Get("/v1/products").Want(http.StatusOK)
	response := unknown.Get("/v1/products").Want(http.StatusServiceUnavailable)
	if response.Header.Get("Retry-After") == "" {
		t.Error("want Retry-After in the 503")
	}
	admin.Get("/v1/products").Want(http.StatusServiceUnavailable) // admin keys are never served stale
	app.As("rl_live_nonsense").Get("/v1/products").Want(http.StatusUnauthorized)

	proxy.Mend()
	unknown.Get("/v1/products").Want(http.StatusOK) // failures are not cached
	admin.Get("/v1/products").Want(http.StatusOK)
}

// TestCache_database_hung checks that a request with a cached key doesn't wait for the
// load that refreshes it, which hangs: when the request is answered, no load has ended.
func TestCache_database_hung(t *testing.T) {
	t.Parallel()
	app, proxy := appBehindProxy(t, withCacheTTL(time.Nanosecond)) // entries are stale immediately
	known := app.caller("internal")
	known.Get("/v1/products").Want(http.StatusOK)
	loads := func() string {
		return app.metric(`ratelimiter_cache_loads_total{cache="keys",result="found"}`) + " and " +
			app.metric(`ratelimiter_cache_loads_total{cache="keys",result="failed"}`)
	}
	before := loads()
	proxy.Freeze()
	defer proxy.Thaw()
	known.Get("/v1/products").Want(http.StatusOK)
	if after := loads(); after != before {
		t.Errorf("%s loads have succeeded and failed, before the request %s: it waited for one", after, before)
	}
	app.await("a load hangs", proxy.Holding)
}

func TestCache_serves_revoked_key_while_fresh(t *testing.T) {
	address := testkit.DatabaseURL(t)
	fresh, stale := newApp(t, onDatabase(address)), newApp(t, onDatabase(address), withCacheTTL(time.Nanosecond), withoutStale())
	key := fresh.key(models.NewKey{Plan: "internal"})
	fresh.As(key).Get("/v1/products").Want(http.StatusOK)
	stale.As(key).Get("/v1/products").Want(http.StatusOK)
	fresh.exec(`UPDATE api_keys SET revoked_at = now()`)
	fresh.As(key).Get("/v1/products").Want(http.StatusOK)
	stale.As(key).Get("/v1/products").Want(http.StatusUnauthorized)
}

// TestCache_fresh_while_changes_are_read checks that a cached key costs no query beyond
// CACHE_TTL while the instance reads the change log, and does without it.
func TestCache_fresh_while_changes_are_read(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	for name, c := range map[string]struct {
		options []appOption
		again   bool
	}{"read": {options: []appOption{watching()}}, "not_read": {again: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := testkit.DatabaseURL(t)
			pool, counter := countingPool(t, address)
			app := newApp(t, append(c.options, onDatabase(address), withQuotaPool(pool), withCacheTTL(ttl))...)
			caller := app.caller("internal")
			if created := time.Now(); !c.again {
				app.await("the new key is in the log that was read", func() bool { return app.changesRead().After(created) })
			}
			caller.Get("/v1/products/prd_none").Want(http.StatusNotFound)
			loaded := time.Now()
			app.await("the TTL is over", func() bool { // notifications make the instance read often
				app.exec(`SELECT pg_notify('ratelimiter_changes', '')`)
				return time.Since(loaded) > ttl
			})
			before := counter.lookups.Load()
			caller.Get("/v1/products/prd_none").Want(http.StatusNotFound)
			if c.again {
				app.await("the key is looked up again", func() bool { return counter.lookups.Load() > before })
			} else if n := counter.lookups.Load(); n != 1 || before != 1 {
				t.Errorf("%d lookups, want 1", n)
			}
		})
	}
}

func TestQuota_overrides(t *testing.T) {
	app := newApp(t, withCacheTTL(time.Nanosecond))
	app.plan("base", `[{"name":"a","algorithm":"fixed_window","limit":10,"period":"1m"},{"name":"b","algorithm":"fixed_window","limit":10,"period":"1m"}]`)
	caller := app.caller("base")
	app.exec(`UPDATE api_keys SET overrides = jsonb_build_array(
		jsonb_build_object('policy', '{"name":"a","algorithm":"fixed_window","limit":7,"period":"1m"}'::jsonb, 'reason', 'test'),
		jsonb_build_object('policy', '{"name":"c","algorithm":"fixed_window","limit":5,"period":"1m"}'::jsonb, 'expires_at', now() + interval '1 hour'),
		jsonb_build_object('policy', '{"name":"b","algorithm":"fixed_window","limit":1,"period":"1m"}'::jsonb, 'expires_at', now() - interval '1 hour'))`)
	const want = `"a";q=7;w=60, "b";q=10;w=60, "c";q=5;w=60`
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit-Policy"); got != want {
		t.Errorf("got RateLimit-Policy %s; want %s", got, want)
	}
}
