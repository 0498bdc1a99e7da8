package usage

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

var (
	read  = &models.Route{Name: "GET /v1/products", Group: models.ScopeProductsRead, Cost: 1}
	write = &models.Route{Name: "POST /v1/orders", Group: models.ScopeOrdersWrite, Cost: 5}
	free  = &models.Route{Name: "GET /v1/me", Cost: 0}
)

// fixture is a Service on a database of its own.
type fixture struct {
	*Service
	t  *testing.T
	db *pgxpool.Pool
}

func newFixture(t *testing.T, keys ...string) *fixture {
	t.Helper()
	return newFixtureOn(t, testkit.Database(t), nil, keys...)
}

// newFixtureOn returns a fixture on db. The Service uses the pool service to reach
// it, or db if that is nil.
func newFixtureOn(t *testing.T, db, service *pgxpool.Pool, keys ...string) *fixture {
	t.Helper()
	if service == nil {
		service = db
	}
	f := &fixture{t: t, db: db, Service: New(service, Config{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), NewStore: func() ratelimit.Store { return memory.New() },
	})}
	_ = f.Start(t.Context())
	t.Cleanup(func() { _ = f.stop() })
	for _, key := range keys {
		f.exec(`INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
			VALUES ($1, $1, 'free', 'own', $1, '{}', sha256('x'), 'v1')`, key)
	}
	return f
}

func (f *fixture) exec(sql string, args ...any) {
	f.t.Helper()
	if _, err := f.db.Exec(f.t.Context(), sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) number(sql string, args ...any) (n int64) {
	f.t.Helper()
	if err := f.db.QueryRow(f.t.Context(), sql, args...).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) flush() {
	f.t.Helper()
	if err := f.Flush(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return f.Stop(ctx)
}

var allowed, refusedDecision = &ratelimit.Decision{Allowed: true}, &ratelimit.Decision{}

func request(key string) *models.Request {
	return &models.Request{ID: "req_1", Key: &models.APIKey{ID: key}}
}

// recorded returns how many requests of a key are in its history, by day.
func (f *fixture) recorded(key string) (n int64) {
	f.t.Helper()
	for _, u := range f.history(key, time.Now(), models.BucketDay) {
		n += u.Requests
	}
	return n
}

// history returns the usage of a key in the 24 hours around at.
func (f *fixture) history(key string, at time.Time, bucket models.UsageBucket) []models.Usage {
	f.t.Helper()
	list, err := f.Usage(f.t.Context(), key, models.UsageQuery{From: at.Add(-12 * time.Hour), To: at.Add(12 * time.Hour), Bucket: bucket})
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func TestUsage_ExactTotals(t *testing.T) {
	f := newFixture(t, "k1", "k2")
	noon := time.Now().UTC().Truncate(24 * time.Hour)
	var want models.Usage
	var mu sync.Mutex
	var wg sync.WaitGroup
	for seed := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			var sent models.Usage
			for range 2_000 {
				route, decision := []*models.Route{read, write, free}[random.IntN(3)], allowed
				outcome := ratelimit.Outcome(random.IntN(3))
				if random.IntN(4) == 0 && route != free {
					decision = refusedDecision
				}
				f.Record(request("k1"), route, noon.Add(time.Duration(random.IntN(7_200))*time.Second), outcome, decision)
				f.Record(request("k2"), route, noon, outcome, decision)
				if route == free {
					continue
				}
				sent.Requests++
				switch {
				case !decision.Allowed:
					sent.Refused++
				case outcome == ratelimit.Failed:
					sent.Allowed++
				default:
					sent.Allowed++
					sent.Cost += route.Cost
				}
			}
			mu.Lock()
			defer mu.Unlock()
			want.Requests += sent.Requests
			want.Allowed += sent.Allowed
			want.Refused += sent.Refused
			want.Cost += sent.Cost
		})
	}
	wg.Wait()
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"k1", "k2"} {
		for _, bucket := range []models.UsageBucket{models.BucketMinute, models.BucketHour, models.BucketDay} {
			var got models.Usage
			for _, u := range f.history(key, noon, bucket) {
				if u.Start != u.Start.Truncate(bucket.Duration()) || u.Start.Location() != time.UTC {
					t.Errorf("%s: a bucket starts at %s", bucket, u.Start)
				}
				got.Requests += u.Requests
				got.Allowed += u.Allowed
				got.Refused += u.Refused
				got.Cost += u.Cost
			}
			if got != want {
				t.Errorf("Usage of %s by %s = %+v, want %+v", key, bucket, got, want)
			}
		}
	}
	if n := f.number(`SELECT count(*) FROM usage_recent WHERE unit = 0 OR route_group = ''`); n != 0 {
		t.Errorf("%d rows of routes with cost 0", n)
	}
	if f.Lost() != 0 {
		t.Errorf("Lost = %d, want 0", f.Lost())
	}
}

// TestFlush_Retry repeats flushes, as after a lost response of Postgres.
func TestFlush_Retry(t *testing.T) {
	f := newFixture(t, "k")
	now := time.Now()
	batch := cache.Batch[cell, counts]{ID: [16]byte{1}, At: now, Entries: []cache.Entry[cell, counts]{
		{Key: cell{key: "k", route: read, second: now.Unix()}, Value: counts{succeeded: 3, rejected: 1, failed: 1, refused: 2, firstMS: 500, lastMS: 999}},
	}}
	other := batch
	other.ID = [16]byte{2}
	other.Entries = slices.Clone(batch.Entries)
	other.Entries[0].Value.firstMS, other.Entries[0].Value.lastMS = 5, 10
	for _, b := range []cache.Batch[cell, counts]{batch, batch, other, batch} {
		if err := f.flushCounts(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	want := models.Usage{Start: now.UTC().Truncate(24 * time.Hour), Requests: 14, Allowed: 10, Refused: 4, Cost: 8}
	if got := f.history("k", now, models.BucketDay); len(got) != 1 || got[0] != want {
		t.Errorf("Usage = %+v, want %+v", got, want)
	}
	if got, err := f.seconds(t.Context(), "k", now.Add(-time.Minute), now); err != nil || len(got) != 1 ||
		got[0].Succeeded != 6 || got[0].Rejected != 2 || got[0].Failed != 2 || got[0].Refused != 4 || got[0].FirstMS != 5 || got[0].LastMS != 999 {
		t.Errorf("%+v, %v", got, err)
	}
	refusals := cache.Batch[string, keyRefusals]{ID: [16]byte{3}, At: now, Entries: []cache.Entry[string, keyRefusals]{
		{Key: "k", Value: keyRefusals{policies: []policyCount{{policy: "p", minute: now.Unix() / 60, n: 7}}, details: []refusal{{requestID: "r", at: now}}}},
	}}
	for range 3 {
		if err := f.flushRefusals(t.Context(), refusals); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.number(`SELECT sum(refused) FROM usage_policies`); n != 7 {
		t.Errorf("refused = %d, want 7", n)
	}
	if n := f.number(`SELECT count(*) FROM refusals`); n != 1 {
		t.Errorf("%d refusals, want 1", n)
	}
}

// proxied returns a pool that reaches db through a proxy.
func proxied(t *testing.T, db *pgxpool.Pool) (*pgxpool.Pool, *testkit.Proxy) {
	t.Helper()
	u, err := url.Parse(db.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	proxy := testkit.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	pool, err := pgxpool.New(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool, proxy
}

func TestFlush_PostgresDown(t *testing.T) {
	db := testkit.Database(t)
	pool, proxy := proxied(t, db)
	f := newFixtureOn(t, db, pool, "k")
	now := time.Now()
	f.Record(request("k"), read, now, ratelimit.Succeeded, allowed)
	f.flush()
	proxy.Cut()
	for i := range 1000 {
		f.Record(request("k"), read, now.Add(-time.Duration(i)*time.Second), ratelimit.Succeeded, allowed)
	}
	if err := f.Flush(t.Context()); err == nil {
		t.Fatal("Flush without Postgres returns no error")
	}
	proxy.Mend()
	if err := f.stop(); err != nil { // Close retries until ctx is done
		t.Fatal(err)
	}
	if n := f.recorded("k"); n != 1001 {
		t.Errorf("history has %d requests, want 1001", n)
	}
}

func TestFlush_LastUsedAt(t *testing.T) {
	f := newFixture(t, "k", "busy")
	lastUsed := func() (at *time.Time) {
		if err := f.db.QueryRow(t.Context(), `SELECT last_used_at FROM api_keys WHERE id = 'k'`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	if lastUsed() != nil {
		t.Fatal("last_used_at is set before the first use")
	}
	start := time.Now().Truncate(time.Second).Add(-10 * time.Minute)
	for _, step := range []struct{ at, want time.Duration }{
		{0, 0}, {30 * time.Second, 0}, {61 * time.Second, 61 * time.Second}, {10 * time.Second, 61 * time.Second},
	} {
		f.Record(request("k"), free, start.Add(step.at), ratelimit.Succeeded, allowed)
		f.flush()
		if got := lastUsed(); got == nil || !got.Equal(start.Add(step.want)) {
			t.Errorf("last_used_at after a use at %s = %v, want %s", start.Add(step.at), got, start.Add(step.want))
		}
	}
	// A flush doesn't wait for a lock on a key.
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM api_keys WHERE id = 'busy' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	f.Record(request("busy"), read, time.Now(), ratelimit.Succeeded, allowed)
	f.flush()
	if n := f.recorded("busy"); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestMaintainPartitions(t *testing.T) {
	f := newFixture(t, "k")
	partitions := func(table string) int64 {
		return f.number(`SELECT count(*) FROM pg_inherits WHERE inhparent = $1::regclass`, table)
	}
	if n := f.number(`SELECT count(*) FROM keep_partitions(now())`); n != 0 {
		t.Errorf("%d expired partitions in a new database", n)
	}
	now := time.Now()
	f.Record(request("k"), read, now, ratelimit.Succeeded, allowed)
	f.flush()
	f.pack(now.Add(time.Hour))
	for _, step := range []struct {
		in            time.Duration
		seconds, days int64 // remaining rows
	}{{0, 1, 1}, {7 * 24 * time.Hour, 1, 1}, {8*24*time.Hour + time.Hour, 0, 1}, {1825 * 24 * time.Hour, 0, 1}, {2200 * 24 * time.Hour, 0, 0}} {
		if err := f.MaintainPartitions(t.Context(), now.Add(step.in)); err != nil {
			t.Fatal(err)
		}
		seconds, days := f.number(`SELECT count(*) FROM usage_packed`), f.number(`SELECT count(*) FROM usage_days`)
		if seconds != step.seconds || days != step.days {
			t.Errorf("after %s: %d seconds and %d days, want %d and %d", step.in, seconds, days, step.seconds, step.days)
		}
		if n := partitions("usage_packed"); n < 3 || n > 9 {
			t.Errorf("after %s: %d partitions of usage_packed", step.in, n)
		}
	}
	// Pack creates the missing partitions, also of days ago: the server had stopped before it packed them.
	f.exec(`INSERT INTO usage_recent SELECT 'k', now() - day * interval '10 days', 'g', 1, 1, 0, 0, 0, 0, 0 FROM generate_series(0, 4) AS day`)
	if _, err := f.Pack(t.Context(), now.Add(time.Hour)); err == nil {
		t.Error("Pack without partitions returns no error")
	}
	f.pack(now.Add(time.Hour))
	if seconds, days := f.number(`SELECT count(*) FROM usage_packed`), f.number(`SELECT sum(requests) FROM usage_days`); seconds != 5 || days != 5 {
		t.Errorf("packed %d seconds and %d requests, want 5 and 5", seconds, days)
	}
}

// TestFlush_LongRequest records a request that ran longer than maxAge.
func TestFlush_LongRequest(t *testing.T) {
	f := newFixture(t, "k")
	f.Record(request("k"), read, time.Now().Add(-30*24*time.Hour), ratelimit.Succeeded, allowed)
	f.flush()
	if got := f.history("k", time.Now(), models.BucketDay); len(got) != 1 || got[0].Requests != 1 {
		t.Errorf("%+v", got)
	}
}
