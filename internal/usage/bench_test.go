package usage

import (
	"context"
	"strconv"
	"testing"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// recorder is a service whose flushes go nowhere.
func recorder(tb testing.TB) *Service {
	s := &Service{}
	s.counts = cache.NewBehind(cache.BehindOptions[cell, counts]{
		Size: maxCounting, Backlog: maxWaiting, BatchSize: batchSize, Interval: flushInterval, Timeout: flushTimeout,
		Hash: newCellHash(), Flush: func(context.Context, cache.Batch[cell, counts]) error { return nil },
	})
	s.refusals = cache.NewBehind(cache.BehindOptions[string, refused]{
		Size: maxRefusing, Backlog: maxRefusalsWaiting, BatchSize: refusalBatch, Interval: flushInterval, Timeout: flushTimeout,
		Flush: func(context.Context, cache.Batch[string, refused]) error { return nil },
	})
	tb.Cleanup(func() {
		_ = s.counts.Close(context.Background())
		_ = s.refusals.Close(context.Background())
	})
	return s
}

func TestRecordAllocatesNothing(t *testing.T) {
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
				b.Fatalf("%d were lost", s.Lost())
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
