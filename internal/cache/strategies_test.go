package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The three strategies, and none, under the same load: 1,000 keys, some asked
// for far more often than others; nine reads to a write; a source whose every
// call takes a millisecond. 'make bench-cache' prints the table of
// docs/concepts/caching.md.

const (
	benchKeys   = 1000
	sourceDelay = time.Millisecond
)

// slowSource is the table of a database, a millisecond away.
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

// add writes changes of some rows in one call.
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

// strategy is one way to read and to write.
type strategy struct {
	read  func(ctx context.Context, key int) int64
	write func(ctx context.Context, key int)
	end   func()
}

// strategies are made anew for each run, on a source of its own.
var strategies = []struct {
	name string
	make func(b *testing.B, s *slowSource) strategy
}{
	{"none", func(_ *testing.B, s *slowSource) strategy {
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := s.read(key)(ctx); return v },
			write: func(_ context.Context, key int) { s.add(Entry[int, int64]{key, 1}) },
			end:   func() {},
		}
	}},
	{"aside", func(b *testing.B, s *slowSource) strategy {
		a, err := NewAside[int](Options[int64]{Size: benchKeys, LoadTimeout: time.Minute, TTL: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := a.Get(ctx, key, time.Now(), s.read(key)); return v },
			write: func(_ context.Context, key int) { s.add(Entry[int, int64]{key, 1}) }, // which the cache doesn't learn of
			end:   a.Close,
		}
	}},
	{"through", func(b *testing.B, s *slowSource) strategy {
		t, err := NewThrough[int, int64](ThroughOptions{Size: benchKeys, LoadTimeout: time.Minute, TTL: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		return strategy{
			read: func(ctx context.Context, key int) int64 { v, _ := t.Get(ctx, key, s.read(key)); return v },
			write: func(ctx context.Context, key int) {
				_, _ = t.Write(ctx, key, func(context.Context) (int64, error) { return s.add(Entry[int, int64]{key, 1}), nil })
			},
			end: t.Close,
		}
	}},
	{"behind", func(_ *testing.B, s *slowSource) strategy {
		w := NewBehind(BehindOptions[int, int64]{
			Size: benchKeys, Backlog: benchKeys, BatchSize: benchKeys, Interval: 100 * time.Millisecond, Timeout: time.Minute,
			Flush: func(_ context.Context, batch Batch[int, int64]) error { s.add(batch.Entries...); return nil },
		})
		return strategy{
			read:  func(ctx context.Context, key int) int64 { v, _ := s.read(key)(ctx); return v }, // it is for writes
			write: func(_ context.Context, key int) { w.Update(key, func(n *int64) { *n++ }) },
			end:   func() { _ = w.Close(context.Background()) },
		}
	}},
}

func BenchmarkStrategies(b *testing.B) {
	for _, st := range strategies {
		b.Run(st.name, func(b *testing.B) { benchStrategy(b, st.make) })
	}
}

// benchStrategy reports what a read and a write take, how many calls of the
// source a thousand of them cost, how many reads were behind what had been
// written, and how many writes a crash at the end would lose.
func benchStrategy(b *testing.B, makeOne func(*testing.B, *slowSource) strategy) {
	const callers = 16
	s := &slowSource{rows: map[int]int64{}}
	st := makeOne(b, s)
	var written [benchKeys]atomic.Int64 // acknowledged
	var reads, writes, stale, readTime, writeTime atomic.Int64
	var run sync.WaitGroup
	b.ResetTimer()
	for c := range callers {
		run.Go(func() {
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
				known := written[key].Load()
				if st.read(b.Context(), key) < known {
					stale.Add(1)
				}
				readTime.Add(int64(time.Since(begin)))
				reads.Add(1)
			}
		})
	}
	run.Wait()
	b.StopTimer()
	var acknowledged, kept int64
	s.mu.Lock()
	for key := range written {
		acknowledged += written[key].Load()
		kept += s.rows[key]
	}
	s.mu.Unlock()
	calls := s.reads.Load() + s.writes.Load()
	st.end()
	perThousand := func(n, of int64) float64 { return 1000 * float64(n) / float64(max(of, 1)) }
	b.ReportMetric(float64(readTime.Load())/float64(max(reads.Load(), 1))/1e3, "µs/read")
	b.ReportMetric(float64(writeTime.Load())/float64(max(writes.Load(), 1))/1e3, "µs/write")
	b.ReportMetric(perThousand(calls, reads.Load()+writes.Load()), "calls/1000")
	b.ReportMetric(perThousand(stale.Load(), reads.Load()), "stale/1000-reads")
	b.ReportMetric(float64(acknowledged-kept), "lost-by-crash")
}
