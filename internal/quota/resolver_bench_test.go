package quota

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
)

const benchKeys = 100_000

// newBenchResolver returns a Resolver with a pool of the server's size on a database
// with the keys k1 to k100000. Queries are counted.
func newBenchResolver(b *testing.B, asOf func() time.Time) (*Resolver, *queryCounter) {
	b.Helper()
	cfg, err := pgxpool.ParseConfig(testkit.DatabaseURL(b))
	if err != nil {
		b.Fatal(err)
	}
	queries := &queryCounter{}
	cfg.MaxConns, cfg.ConnConfig.Tracer = 16, queries
	db, err := pgxpool.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	if _, err := db.Exec(b.Context(), insertKeys, benchKeys); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(b.Context(), `ANALYZE api_keys`); err != nil {
		b.Fatal(err)
	}
	r, err := NewResolver(db, anyKey{}, NewEnforcementMode(db, noInvalidator{}), CacheConfig{TTL: time.Minute, Stale: time.Hour, AsOf: asOf})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	queries.queries.Store(0)
	return r, queries
}

// loadKeys resolves the keys k1 to kn with as many callers at once.
func loadKeys(b *testing.B, r *Resolver, n, callers int) []string {
	b.Helper()
	ids := keysFrom(1, n)
	next := make(chan string)
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for id := range next {
				if _, _, err := r.Resolve(context.WithoutCancel(b.Context()), id, time.Now()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, id := range ids {
		next <- id
	}
	close(next)
	running.Wait()
	return ids
}

// BenchmarkResolver_Cached measures cached keys that were loaded ten minutes ago, in
// turn: one key, and 100,000 while the change log is read and while it isn't.
func BenchmarkResolver_Cached(b *testing.B) {
	const age = 10 * time.Minute
	for _, c := range []struct {
		name string
		keys int
		asOf func() time.Time
	}{
		{"1_key", 1, func() time.Time { return time.Now().Add(age) }},
		{"100000_keys", benchKeys, func() time.Time { return time.Now().Add(age) }},
		{"100000_keys_by_TTL_alone", benchKeys, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			r, queries := newBenchResolver(b, c.asOf)
			ids := loadKeys(b, r, c.keys, 64)
			queries.queries.Store(0)
			i := 0
			for b.Loop() {
				if _, _, fresh := r.Cached(ids[i%len(ids)], time.Now().Add(age)); !fresh {
					b.Fatal("a key isn't cached")
				}
				i++
			}
			b.ReportMetric(float64(queries.queries.Load())/float64(b.N), "queries/op")
		})
	}
}

// BenchmarkResolver_Resolve_cold measures loads of keys that aren't cached, for one
// caller and for many at once.
func BenchmarkResolver_Resolve_cold(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(callers, "_callers"), func(b *testing.B) {
			if b.N > benchKeys {
				b.Skip("there are not as many keys")
			}
			r, queries := newBenchResolver(b, nil)
			b.ResetTimer()
			loadKeys(b, r, b.N, callers)
			b.ReportMetric(float64(queries.queries.Load())/float64(b.N), "queries/op")
		})
	}
}

// BenchmarkResolver_memory measures the heap of 100,000 cached keys of one plan.
func BenchmarkResolver_memory(b *testing.B) {
	for b.Loop() {
		r, _ := newBenchResolver(b, nil)
		heap := heapOf(func() { loadKeys(b, r, benchKeys, 64) })
		b.ReportMetric(float64(heap)/float64(r.cache.Len()), "bytes/key")
		runtime.KeepAlive(r)
	}
}
