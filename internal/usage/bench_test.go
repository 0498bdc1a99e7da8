package usage

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// recorder returns a Service that discards its flushes.
func recorder(tb testing.TB) *Service {
	s := &Service{}
	s.counts = cache.NewWriteBehind(cache.WriteBehindOptions[cell, counts]{
		Size: maxPending, Backlog: maxBacklog, BatchSize: batchSize, Interval: flushInterval, Timeout: flushTimeout,
		Hash: newCellHash(), Flush: func(context.Context, cache.Batch[cell, counts]) error { return nil },
	})
	s.refusals = cache.NewWriteBehind(cache.WriteBehindOptions[string, keyRefusals]{
		Size: maxRefusalsPending, Backlog: maxRefusalsBacklog, BatchSize: refusalBatch, Interval: flushInterval, Timeout: flushTimeout,
		Flush: func(context.Context, cache.Batch[string, keyRefusals]) error { return nil },
	})
	s.counts.Start()
	s.refusals.Start()
	tb.Cleanup(func() {
		_ = s.counts.Close(context.Background())
		_ = s.refusals.Close(context.Background())
	})
	return s
}

func TestRecord_DoesNotAllocate(t *testing.T) {
	s, r, now := recorder(t), request("k"), time.Now()
	record := func() { s.Record(r, read, now, ratelimit.Succeeded, allowed) }
	record()
	if n := testing.AllocsPerRun(1000, record); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, keys := range []int{1, 1_000, 50_000} {
		b.Run("keys="+strconv.Itoa(keys), func(b *testing.B) {
			s := recorder(b)
			requests := make([]*models.Request, keys)
			for i := range requests {
				requests[i] = request("key" + strconv.Itoa(i*7919))
			}
			now, i := time.Now(), 0
			b.ReportAllocs()
			for b.Loop() {
				i = (i + 7919) % keys
				s.Record(requests[i], read, now, ratelimit.Succeeded, allowed)
			}
			if s.Lost() > 0 {
				b.Fatalf("Lost = %d, want 0", s.Lost())
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		s, r, now := recorder(b), request("k"), time.Now()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				s.Record(r, read, now, ratelimit.Succeeded, allowed)
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		s, now := recorder(b), time.Now()
		decision, r := refusedBy(b), request("k")
		b.ReportAllocs()
		for b.Loop() {
			s.Record(r, read, now, ratelimit.Rejected, decision)
		}
	})
}

// BenchmarkFlush measures a flush of a full batch of 5,000 keys.
func BenchmarkFlush(b *testing.B) {
	s := recorder(b)
	s.db = testkit.Database(b)
	batch := cache.Batch[cell, counts]{At: time.Now(), Entries: make([]cache.Entry[cell, counts], batchSize)}
	for i := range batch.Entries {
		batch.Entries[i].Key = cell{key: "key" + strconv.Itoa(i), route: read}
		batch.Entries[i].Value = counts{succeeded: 3}
	}
	second, n := time.Now().Unix(), uint64(0)
	for b.Loop() {
		n++
		binary.BigEndian.PutUint64(batch.ID[:], n)
		for i := range batch.Entries {
			batch.Entries[i].Key.second = second + int64(n)
		}
		if err := s.flushCounts(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/entry")
}

// BenchmarkFlush_steady measures the CPU time that Postgres takes for ten minutes
// of 500 keys that are active in every second: their flushes and Pack.
func BenchmarkFlush_steady(b *testing.B) {
	const keys, seconds = 500, 600
	for b.Loop() {
		s := recorder(b)
		db, err := postgres.Open(b.Context(), testkit.DatabaseURL(b), postgres.WithMaxConns(1))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(db.Close)
		s.db = db
		if _, err := db.Exec(b.Context(), `INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
			SELECT 'key' || i, 'k', 'free', 'own', 'key' || i, '{}', sha256(i::text::bytea), 'v1' FROM generate_series(0, $1 - 1) AS i`, keys); err != nil {
			b.Fatal(err)
		}
		batch := cache.Batch[cell, counts]{At: time.Now(), Entries: make([]cache.Entry[cell, counts], keys)}
		for i := range batch.Entries {
			batch.Entries[i].Key = cell{key: "key" + strconv.Itoa(i), route: read}
			batch.Entries[i].Value = counts{succeeded: 3, firstMS: 17, lastMS: 930}
		}
		start := time.Now().Truncate(packedSpan).Add(-2 * packedSpan)
		begin := backendCPU(b, db)
		for i := range seconds {
			binary.BigEndian.PutUint64(batch.ID[:], uint64(i))
			rand.Shuffle(keys, func(i, j int) { batch.Entries[i], batch.Entries[j] = batch.Entries[j], batch.Entries[i] })
			for j := range batch.Entries {
				batch.Entries[j].Key.second = start.Unix() + int64(i)
			}
			if err := s.flushCounts(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		flushed := backendCPU(b, db)
		if _, err := db.Exec(b.Context(), `ANALYZE usage_recent`); err != nil { // autovacuum's part
			b.Fatal(err)
		}
		for more := true; more; {
			if more, err = s.Pack(b.Context(), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		packed := backendCPU(b, db)
		b.ReportMetric(float64((flushed-begin).Nanoseconds())/keys/seconds, "flush-ns/entry")
		b.ReportMetric(float64((packed-flushed).Nanoseconds())/keys/seconds, "pack-ns/entry")
	}
}

// backendCPU returns the CPU time of the only connection of db.
func backendCPU(b *testing.B, db *pgxpool.Pool) time.Duration {
	b.Helper()
	var pid int
	if err := db.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		b.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)) // of Linux: ns on a CPU, ns waiting for one, slices
	if err != nil {
		b.Skip(err)
	}
	var ns time.Duration
	if _, err := fmt.Sscan(string(stat), &ns); err != nil {
		b.Fatal(err)
	}
	return ns
}

// BenchmarkSimulate replays a day of ten requests per second against three
// policies.
func BenchmarkSimulate(b *testing.B) {
	s := recorder(b)
	s.db, s.simulating = testkit.Database(b), make(chan struct{}, 1)
	s.newStore = func() ratelimit.Store { return memory.New() }
	to := time.Now().UTC().Truncate(time.Hour)
	if _, err := s.db.Exec(b.Context(), `
		INSERT INTO api_keys (id, name, plan, owner, subject, scopes, mac, pepper_version)
		VALUES ('k', 'k', 'free', 'own', 'k', '{}', sha256('x'), 'v1')`); err != nil {
		b.Fatal(err)
	}
	if _, err := s.db.Exec(b.Context(), `
		INSERT INTO usage_recent SELECT 'k', $1::timestamptz - i * interval '1 second', 'products:read', 1, 10, 0, 0, 0, 0, 999
		FROM generate_series(1, 86400) AS i`, to); err != nil {
		b.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = s.Pack(b.Context(), to.Add(time.Hour)); err != nil {
			b.Fatal(err)
		}
	}
	policies, err := ratelimit.ParsePolicies([]byte(`[{"name":"burst","algorithm":"token_bucket","limit":5,"period":"1s","burst":20},
		{"name":"minute","algorithm":"sliding_window","limit":300,"period":"1m"},
		{"name":"monthly","algorithm":"calendar","limit":100000,"period":"month"}]`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if result, err := s.Simulate(b.Context(), "k", policies, to.Add(-24*time.Hour), to); err != nil || result.Requests != 864_000 {
			b.Fatal(result.Requests, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/864_000, "ns/request")
}
