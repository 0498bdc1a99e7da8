package main

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/shop"
	"ratelimiter/internal/testkit"
	"ratelimiter/internal/usage"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// testApp is the whole server but for its process: a database of its own, the
// router on a free port, and a clock of the limiter's that the test can turn.
type testApp struct {
	*testkit.Client
	t      testing.TB
	db     *pgxpool.Pool
	keys   *apikeys.Store
	ready  *readiness
	clock  *testClock
	quotas *quota.Service
	log    *safeBuffer
	usage  *usage.Service
	orders *shop.Orders
}

type appOption func(*appOptions)

type appOptions struct {
	database string        // its URL; empty: a new one
	pool     *pgxpool.Pool // what the quotas are read from; nil: the test's database
	cacheTTL time.Duration
	proxies  []string
	headers  middleware.Fields
	origins  []string         // CORS
	cpu      *middleware.Pool // what invoices are drawn on; nil: the server's own
	watching bool             // for changes by others
	listen   *pgxpool.Pool    // where it hears of them; nil: the test's database
}

func onDatabase(url string) appOption { return func(o *appOptions) { o.database = url } }

func withQuotaPool(pool *pgxpool.Pool) appOption { return func(o *appOptions) { o.pool = pool } }

// watching makes the app listen for changes. Others hear only of their own, so
// that their queries can be counted and their memory goes out of date.
func watching() appOption { return func(o *appOptions) { o.watching = true } }

// watchingThrough is watching by the connections of another pool.
func watchingThrough(pool *pgxpool.Pool) appOption {
	return func(o *appOptions) { o.watching, o.listen = true, pool }
}

func withCPU(cpu *middleware.Pool) appOption { return func(o *appOptions) { o.cpu = cpu } }

func withCacheTTL(ttl time.Duration) appOption { return func(o *appOptions) { o.cacheTTL = ttl } }

func withTrustedProxies(networks ...string) appOption {
	return func(o *appOptions) { o.proxies = networks }
}

func withOrigins(origins ...string) appOption { return func(o *appOptions) { o.origins = origins } }

func withFields(fields middleware.Fields) appOption {
	return func(o *appOptions) { o.headers = fields }
}

func newApp(t testing.TB, options ...appOption) *testApp {
	t.Helper()
	o := appOptions{cacheTTL: time.Minute, headers: middleware.FieldsDraft11}
	for _, option := range options {
		option(&o)
	}
	if o.database == "" {
		o.database = testkit.DatabaseURL(t)
	}
	db, err := postgres.Open(t.Context(), o.database, postgres.WithMaxConns(8))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	peppers, err := apikeys.ParsePeppers("v1:a pepper for tests only")
	if err != nil {
		t.Fatal(err)
	}
	app := &testApp{
		t: t, db: db, keys: apikeys.NewStore(db, peppers),
		ready: &readiness{db: db}, clock: newTestClock(), log: &safeBuffer{},
	}
	app.ready.open.Store(true)
	to := &console{out: t.Output(), log: slog.New(slog.NewJSONHandler(app.log, nil))}
	cfg := &config{peppers: peppers, trustedProxies: o.proxies, cacheTTL: o.cacheTTL, cacheStale: 10 * time.Minute, headers: o.headers, origins: o.origins}
	parts, err := newServices(cfg, &database{Pool: cmp.Or(o.pool, db)}, to.log, app.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	app.quotas = parts.quotas
	parts.cpu = cmp.Or(o.cpu, parts.cpu)
	t.Cleanup(parts.close)
	if o.watching {
		parts.watcher = quota.NewWatcher(cmp.Or(o.listen, db), to.log, parts.quotas, parts.checks, parts.calm)
		if err := parts.start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	parts.db = &database{Pool: db} // the shop's; the quotas keep theirs
	router, err := parts.router(cfg, to, app.ready)
	if err != nil {
		t.Fatal(err)
	}
	app.usage, app.orders = parts.usage, parts.orders
	app.Client = testkit.Serve(t, router)
	return app
}

// key makes a key on a plan and returns its text.
func (a *testApp) key(spec apikeys.NewKey) string {
	a.t.Helper()
	if spec.Name == "" {
		spec.Name = a.t.Name()
	}
	_, text, err := a.keys.Create(models.WithActor(a.t.Context(), "test"), spec)
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// plan makes a plan of policies, as JSON.
func (a *testApp) plan(name, policies string) {
	a.t.Helper()
	a.exec(`INSERT INTO plans (name, policies) VALUES ($1, $2)`, name, policies)
}

func (a *testApp) exec(sql string, args ...any) {
	a.t.Helper()
	if _, err := a.db.Exec(a.t.Context(), sql, args...); err != nil {
		a.t.Fatal(err)
	}
}

// admin returns a client with a new key of these scopes; none: admin.
func (a *testApp) admin(scopes ...models.Scope) *testkit.Client {
	a.t.Helper()
	return a.As(a.key(apikeys.NewKey{Admin: true, Scopes: scopes}))
}

// caller returns a client with a new key on a plan.
func (a *testApp) caller(plan string, scopes ...models.Scope) *testkit.Client {
	a.t.Helper()
	return a.As(a.key(apikeys.NewKey{Plan: plan, Scopes: scopes}))
}

// testClock is a clock that only the test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock {
	return &testClock{now: time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// lock keeps a table from being read until unlock, which may be called more
// than once. locked waits until a query of the app's hangs at it.
func (a *testApp) lock(table string) (locked, unlock func()) {
	a.t.Helper()
	tx, err := a.db.Begin(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := tx.Exec(a.t.Context(), `LOCK TABLE `+table+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		a.t.Fatal(err)
	}
	locked = func() {
		a.await("a query hangs at the lock", func() bool {
			var waiting int
			err := a.db.QueryRow(a.t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass`, table).Scan(&waiting)
			return err == nil && waiting > 0
		})
	}
	var once sync.Once
	return locked, func() { once.Do(func() { _ = tx.Rollback(context.Background()) }) }
}

// await waits until something that happens elsewhere has happened.
func (a *testApp) await(what string, happened func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !happened(); {
		if time.Now().After(deadline) {
			a.t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
