package memory_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

var threePolicies = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 300, Period: "1m"},
	{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10000, Period: ratelimit.Month},
}

// BenchmarkMillionSubjects fills a store with a million subjects of three
// policies. It reports the memory per subject and the duration of a full garbage
// collection.
func BenchmarkMillionSubjects(b *testing.B) {
	const subjects = 1_000_000
	q, err := ratelimit.NewQuota(threePolicies, ratelimit.Subjects{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before := heap()
		store := memory.New()
		fill(b, ratelimit.New(store), q, subjects)
		if n := store.Len(); n != subjects {
			b.Fatalf("Len = %d, want %d", n, subjects)
		}
		b.ReportMetric(float64(heap()-before)/subjects, "B/subject")
		began := time.Now()
		runtime.GC()
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/GC")
		runtime.KeepAlive(store)
	}
}

func fill(b *testing.B, l *ratelimit.Limiter, q *ratelimit.Quota, subjects int) {
	var r ratelimit.Reservation
	for i := range subjects {
		bound := q.For(ratelimit.Subjects{Key: strconv.Itoa(i)})
		if err := l.Reserve(context.Background(), &r, bound, "", 1); err != nil || !r.Decision.Allowed {
			b.Fatal(err, r.Decision.Violated())
		}
	}
}

// heap returns the size of the live heap in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
