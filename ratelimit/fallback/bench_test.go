package fallback_test

import (
	"context"
	"strconv"
	"syscall"
	"testing"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// cpuTime returns the time on a processor, which other programs don't lengthen.
func cpuTime(b *testing.B) int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// BenchmarkTake measures a decision over three policies: in a memory store, through
// a Store over it, whose difference is the mirror and the deadline of the call, and
// alone.
func BenchmarkTake(b *testing.B) {
	plan, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1e6, Period: "1s"},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 1e9, Period: "1h"},
		{Name: "hour", Algorithm: ratelimit.FixedWindow, Limit: 1e9, Period: "1h"},
	}, ratelimit.Subjects{})
	if err != nil {
		b.Fatal(err)
	}
	var quotas []*ratelimit.Quota
	for i := range 10_000 {
		quotas = append(quotas, plan.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i / 10)}))
	}
	for _, c := range []struct {
		name  string
		store ratelimit.Store
	}{
		{"memory", memory.New()},
		{"shared", fallback.New(memory.New(), fallback.Options{})},
		{"alone", fallback.New(down{}, fallback.Options{})},
	} {
		for _, keys := range []int{1, len(quotas)} {
			b.Run(c.name+"/keys="+strconv.Itoa(keys), func(b *testing.B) {
				limiter := ratelimit.New(c.store)
				var r ratelimit.Reservation
				b.ReportAllocs()
				before := cpuTime(b)
				for i := 0; b.Loop(); i++ {
					if err := limiter.Reserve(context.Background(), &r, quotas[i%keys], "", 1); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
