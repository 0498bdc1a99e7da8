package main

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// testApp is the whole server but for its process: a database of its own, the
// router on a free port, and a clock of the limiter's that the test can turn.
type testApp struct {
	*testkit.Client
	t     *testing.T
	db    *pgxpool.Pool
	keys  *apikeys.Store
	ready *readiness
	clock *testClock
	log   *safeBuffer
}

type appOption func(*appOptions)

type appOptions struct {
	database string        // its URL; empty: a new one
	pool     *pgxpool.Pool // what the quotas are read from; nil: the test's database
	cacheTTL time.Duration
	proxies  []string
}

func onDatabase(url string) appOption { return func(o *appOptions) { o.database = url } }

func withQuotaPool(pool *pgxpool.Pool) appOption { return func(o *appOptions) { o.pool = pool } }

func withCacheTTL(ttl time.Duration) appOption { return func(o *appOptions) { o.cacheTTL = ttl } }

func withTrustedProxies(networks ...string) appOption {
	return func(o *appOptions) { o.proxies = networks }
}

func newApp(t *testing.T, options ...appOption) *testApp {
	t.Helper()
	o := appOptions{cacheTTL: time.Minute}
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
	if o.pool == nil {
		o.pool = db
	}
	peppers, err := apikeys.ParsePeppers("v1:a pepper for tests only")
	if err != nil {
		t.Fatal(err)
	}
	quotas, err := quota.New(o.pool, keyChecker{peppers}, quota.Config{TTL: o.cacheTTL, Stale: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(quotas.Close)
	app := &testApp{
		t: t, db: db, keys: apikeys.NewStore(db, peppers),
		ready: &readiness{db: &database{Pool: db}}, clock: newTestClock(), log: &safeBuffer{},
	}
	app.ready.open.Store(true)
	to := &console{out: t.Output(), log: slog.New(slog.NewJSONHandler(app.log, nil))}
	cfg := &config{peppers: peppers, trustedProxies: o.proxies}
	router, err := wire(cfg, to, app.ready.db, quotas, app.ready, ratelimit.WithClock(app.clock.Now))
	if err != nil {
		t.Fatal(err)
	}
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
