package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/app"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/config"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/testkit"
	"ratelimiter/internal/workpool"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

// testApp is the server on a new database, with a clock that the test controls.
type testApp struct {
	*testkit.Client
	t     testing.TB
	app   *app.App
	db    *pgxpool.Pool
	keys  *apikeys.Store // its changes don't invalidate the caches of app
	clock *testClock
	log   *safeBuffer
}

type appOption func(*appOptions)

type appOptions struct {
	app.Options
	database  string // URL; empty: a new database
	config    config.Config
	watching  bool // follow the changes of other instances
	wallClock bool
	working   bool          // the workers of orders run
	skew      time.Duration // of the wall clock
}

func onDatabase(url string) appOption { return func(o *appOptions) { o.database = url } }

func withQuotaPool(pool *pgxpool.Pool) appOption { return func(o *appOptions) { o.QuotaDB = pool } }

// watching makes the app follow the changes of other instances. Without it,
// cached entries become stale and no background queries run.
func watching() appOption { return func(o *appOptions) { o.watching = true } }

// working makes a watching app process orders.
func working() appOption { return func(o *appOptions) { o.working = true } }

// watchingThrough is watching with the connections of another pool.
func watchingThrough(pool *pgxpool.Pool) appOption {
	return func(o *appOptions) { o.watching, o.ListenDB = true, pool }
}

func withCPU(cpu *workpool.Pool) appOption { return func(o *appOptions) { o.CPU = cpu } }

func withCacheTTL(ttl time.Duration) appOption {
	return func(o *appOptions) { o.config.CacheTTL = ttl }
}

func withoutStale() appOption {
	return func(o *appOptions) { o.config.CacheStale = 0 }
}

func withTrustedProxies(networks ...string) appOption {
	return func(o *appOptions) {
		for _, network := range networks {
			o.config.TrustedProxies = append(o.config.TrustedProxies, netip.MustParsePrefix(network))
		}
	}
}

func withOrigins(origins ...string) appOption {
	return func(o *appOptions) { o.config.Origins = origins }
}

// withRedis makes the app count in Redis.
func withRedis(url string) appOption {
	return func(o *appOptions) { o.config.RedisURL = url }
}

// onWallClock makes the app's clock the real one, instead of one that the test
// controls.
func onWallClock() appOption { return func(o *appOptions) { o.wallClock = true } }

// withSkew makes the app's clock differ from the real one.
func withSkew(ahead time.Duration) appOption {
	return func(o *appOptions) { o.skew = ahead }
}

// withPatience makes the app wait for Redis, so that a busy machine doesn't make it
// decide alone.
func withPatience() appOption {
	return func(o *appOptions) { o.config.RedisTimeout = 5 * time.Second }
}

// redisOf holds the URLs of the Redis servers of databases; see redisFor.
var redisOf sync.Map

// redisFor returns the URL of a Redis server that all apps on a database share, if
// E2E_REDIS is set: the tests should pass with Redis as without.
func redisFor(t testing.TB, database string) string {
	if os.Getenv("E2E_REDIS") == "" {
		return ""
	}
	if url, found := redisOf.Load(database); found {
		return url.(string)
	}
	url := testkit.Redis(t).URL()
	redisOf.Store(database, url)
	return url
}

// countsAlone skips a test of what an instance counts by itself, if E2E_REDIS is set.
func countsAlone(t *testing.T) {
	if os.Getenv("E2E_REDIS") != "" {
		t.Skip("counters are shared, and survive a crash")
	}
}

func withFields(fields middleware.Fields) appOption {
	return func(o *appOptions) { o.config.Headers = fields }
}

// redisTimeout is longer than the default, because tests share few cores.
const redisTimeout = 500 * time.Millisecond

// noGateway is the URL of a payment gateway that is down: orders are accepted.
const noGateway = "http://127.0.0.1:1"

// testPepper is the pepper of all servers that share a database.
const testPepper = "a pepper for tests only"

func newApp(t testing.TB, options ...appOption) *testApp {
	t.Helper()
	a := &testApp{t: t, clock: newTestClock(), log: &safeBuffer{}}
	o := appOptions{config: config.Config{
		HTTPAddr: "127.0.0.1:0", OpsAddr: "127.0.0.1:0", RedisTimeout: redisTimeout, CacheTTL: time.Minute, CacheStale: 10 * time.Minute, PaymentURL: noGateway, Headers: middleware.FieldsDraft11,
	}}
	for _, option := range options {
		option(&o)
	}
	if !o.working && o.Routes == nil {
		o.Routes = queue.Routes{}
	}
	if o.database == "" {
		o.database = testkit.DatabaseURL(t)
	}
	var err error
	if a.db, err = postgres.Open(t.Context(), o.database, postgres.WithMaxConns(8)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.db.Close)
	if o.config.RedisURL == "" {
		o.config.RedisURL = redisFor(t, o.database)
	}
	if o.config.Peppers, err = apikeys.ParsePeppers(testPepper); err != nil {
		t.Fatal(err)
	}
	none := changefeed.NoCaches{}
	a.keys = apikeys.NewStore(a.db, o.config.Peppers, quota.NewPlans(a.db, none), none)
	o.Log, o.Out, o.Now, o.DB, o.Isolated = slog.New(slog.NewJSONHandler(a.log, nil)), t.Output(), a.clock.Now, a.db, !o.watching
	switch {
	case o.skew != 0:
		o.Now = func() time.Time { return time.Now().Add(o.skew) }
	case o.wallClock:
		o.Now = nil
	default:
		o.RedisNow = o.Now
	}
	if a.app, err = app.New(&o.config, o.Options); err != nil {
		t.Fatal(err)
	}
	if err := a.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Client = testkit.NewClient(t, "http://"+a.app.Addr().String())
	t.Cleanup(func() {
		if err := a.app.Stop(context.Background()); err != nil {
			t.Log(err) // the test may have closed the database
		}
	})
	return a
}

// key creates a key and returns its text.
func (a *testApp) key(spec models.NewKey) string {
	a.t.Helper()
	if spec.Name == "" {
		spec.Name = a.t.Name()
	}
	expiresAt := spec.ExpiresAt
	expired := expiresAt != nil && expiresAt.Before(time.Now())
	if expired { // the store rejects it
		spec.ExpiresAt = nil
	}
	_, text, err := a.keys.Create(models.WithActor(a.t.Context(), "test"), spec)
	if err != nil {
		a.t.Fatal(err)
	}
	if expired {
		a.exec(`UPDATE api_keys SET expires_at = $2 WHERE id = $1`, idOf(text), expiresAt)
	}
	return text
}

// plan creates a plan. policies is a JSON array.
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

// admin returns a client with a new admin key. Without scopes, it has the scope admin.
func (a *testApp) admin(scopes ...models.Scope) *testkit.Client {
	a.t.Helper()
	return a.As(a.key(models.NewKey{Admin: true, Scopes: scopes}))
}

// caller returns a client with a new key on a plan.
func (a *testApp) caller(plan string, scopes ...models.Scope) *testkit.Client {
	a.t.Helper()
	return a.As(a.key(models.NewKey{Plan: plan, Scopes: scopes}))
}

// testClock is a clock that only Advance moves.
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

// safeBuffer is a buffer that is safe for concurrent use.
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

// lock locks a table until unlock, which may be called more than once. locked
// waits until a query of the app is blocked by it.
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
		a.await("a query is blocked by the lock", func() bool {
			var waiting int
			err := a.db.QueryRow(a.t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass`, table).Scan(&waiting)
			return err == nil && waiting > 0
		})
	}
	var once sync.Once
	return locked, func() { once.Do(func() { _ = tx.Rollback(context.Background()) }) }
}

// await polls a condition until it holds, for at most 20 s.
func (a *testApp) await(what string, holds func() bool) {
	a.t.Helper()
	testkit.Await(a.t, 20*time.Second, what, holds)
}

// pathParameter matches a path parameter of gin.
var pathParameter = regexp.MustCompile(`:(\w+)`)
