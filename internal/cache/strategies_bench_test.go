package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Load of BenchmarkStrategies: 1,000 keys with a Zipf distribution, nine reads per
// write, and a source whose calls take a millisecond. 'make bench-cache' prints
// the table of docs/concepts/caching.md.
const (
	benchKeys   = 1000
	sourceDelay = time.Millisecond
)

// slowSource is a table whose reads and writes take sourceDelay.
type slowSource struct {
	mu            sync.Mutex
	rows          map[int]int64
	reads, writes atomic.Int64
}

func (s *slowSource) read(key int) Load[int64] {
	return func(context.Context) (int64, error) {
		s.reads.Add(1)
		time.Sleep(sourceDelay)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.rows[key], nil
	}
}

// add adds to rows in one write and returns the last row's new value.
func (s *slowSource) add(rows ...Entry[int, int64]) int64 {
	s.writes.Add(1)
	time.Sleep(sourceDelay)
	s.mu.Lock()
	defer s.mu.Unlock()
	var last int64
	for _, r := range rows {
		s.rows[r.Key] += r.Value
		last = s.rows[r.Key]
	}
	return last
}

// strategy reads and increments values with one kind of cache.
type strategy struct {
	read  func(ctx context.Context, key int) int64
	write func(ctx context.Context, key int)
	close func()
}

var strategies = []struct {
	name string
	make func(b *testing.B, s *slowSource) strategy
}{
	{"no_cache", func(_ *testing.B, s *slowSource) strategy {
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := s.read(key)(ctx); return v },
			write: func(_ context.Context, key int) { s.add(Entry[int, int64]{key, 1}) },
			close: func() {},
		}
	}},
	{"cache_aside", func(b *testing.B, s *slowSource) strategy {
		a, err := NewAside[int](Options[int64]{Size: benchKeys, LoadTimeout: time.Minute, TTL: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := a.Get(ctx, key, time.Now(), s.read(key)); return v },
			write: func(_ context.Context, key int) { s.add(Entry[int, int64]{key, 1}) }, // doesn't invalidate the entry
			close: a.Close,
		}
	}},
	{"write_through", func(b *testing.B, s *slowSource) strategy {
		w, err := NewWriteThrough(Options[int64]{Size: benchKeys, LoadTimeout: time.Minute, TTL: time.Second},
			func(ctx context.Context, key int) (int64, error) { return s.read(key)(ctx) }, func(n int64) int64 { return n })
		if err != nil {
			b.Fatal(err)
		}
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := w.Get(ctx, key, time.Now()); return v },
			write: func(_ context.Context, key int) { w.Put(key, s.add(Entry[int, int64]{key, 1})) },
			close: w.Close,
		}
	}},
	{"write_behind", func(_ *testing.B, s *slowSource) strategy {
		w := NewWriteBehind(WriteBehindOptions[int, int64]{
			Size: benchKeys, Backlog: benchKeys, BatchSize: benchKeys, Interval: 100 * time.Millisecond, Timeout: time.Minute,
			Flush: func(_ context.Context, batch Batch[int, int64]) error { s.add(batch.Entries...); return nil },
		})
		w.Start()
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := s.read(key)(ctx); return v }, // reads aren't cached
			write: func(_ context.Context, key int) { w.Update(key, func(n *int64) { *n++ }) },
			close: func() { _ = w.Close(context.Background()) },
		}
	}},
}

func BenchmarkStrategies(b *testing.B) {
	for _, st := range strategies {
		b.Run(st.name, func(b *testing.B) { benchStrategy(b, st.make) })
	}
}

// benchStrategy reports the time of a read and a write, the calls of the source
// per 1,000 operations, the reads per 1,000 that miss an acknowledged write, and
// the acknowledged writes that a crash at the end would lose.
func benchStrategy(b *testing.B, makeOne func(*testing.B, *slowSource) strategy) {
	const callers = 16
	s := &slowSource{rows: map[int]int64{}}
	st := makeOne(b, s)
	var written [benchKeys]atomic.Int64 // acknowledged
	var reads, writes, stale, readTime, writeTime atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for c := range callers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(c)))
			keys := rand.NewZipf(random, 1.2, 1, benchKeys-1)
			for range b.N / callers {
				key := int(keys.Uint64())
				begin := time.Now()
				if random.IntN(10) == 0 {
					st.write(b.Context(), key)
					writeTime.Add(int64(time.Since(begin)))
					written[key].Add(1)
					writes.Add(1)
					continue
				}
				acknowledged := written[key].Load()
				if st.read(b.Context(), key) < acknowledged {
					stale.Add(1)
				}
				readTime.Add(int64(time.Since(begin)))
				reads.Add(1)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	var acknowledged, durable int64
	s.mu.Lock()
	for key := range written {
		acknowledged += written[key].Load()
		durable += s.rows[key]
	}
	s.mu.Unlock()
	calls := s.reads.Load() + s.writes.Load()
	st.close()
	perThousand := func(n, of int64) float64 { return 1000 * float64(n) / float64(max(of, 1)) }
	b.ReportMetric(float64(readTime.Load())/float64(max(reads.Load(), 1))/1e3, "µs/read")
	b.ReportMetric(float64(writeTime.Load())/float64(max(writes.Load(), 1))/1e3, "µs/write")
	b.ReportMetric(perThousand(calls, reads.Load()+writes.Load()), "calls/1000")
	b.ReportMetric(perThousand(stale.Load(), reads.Load()), "stale/1000-reads")
	b.ReportMetric(float64(acknowledged-durable), "lost-on-crash")
}
