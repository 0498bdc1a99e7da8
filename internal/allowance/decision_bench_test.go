package allowance_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"ratelimiter/internal/allowance"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// BenchmarkDecision_calendar compares a decision over three policies whose
// calendar counter is in memory alone with one that spends leases. Both run in
// turns, so that the ratio doesn't depend on the machine's other load.
func BenchmarkDecision_calendar(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			plan, err := ratelimit.NewQuota([]ratelimit.Policy{
				{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1_000_000, Period: "1s", Burst: 1_000_000},
				{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 60_000_000, Period: "1m"},
				{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 1_000_000_000, Period: ratelimit.Month},
			}, ratelimit.Subjects{})
			if err != nil {
				b.Fatal(err)
			}
			quotas := make([]*ratelimit.Quota, keys)
			for i := range quotas {
				quotas[i] = plan.For(ratelimit.Subjects{Key: strconv.Itoa(i)})
			}
			leasing := memory.New()
			service := allowance.New(&quick{durable{rows: map[period]*allowance.Reply{}, rng: rand.New(rand.NewPCG(1, 1))}}, leasing, slog.New(slog.DiscardHandler))
			limiters := [2]*ratelimit.Limiter{ratelimit.New(memory.New()), ratelimit.New(leasing, ratelimit.WithAllowances(service))}
			var spent [2]time.Duration
			var r ratelimit.Reservation
			const turn = 10_000
			for i := range 2 * keys { // first leases, and first counters
				if err := limiters[i%2].Reserve(context.Background(), &r, quotas[i/2], "", 1); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for n := 0; n < b.N; n += turn {
				for which, limiter := range limiters {
					start := time.Now()
					for i := range turn {
						if err := limiter.Reserve(context.Background(), &r, quotas[(n+i*7)%keys], "", 1); err != nil || !r.Decision.Allowed {
							b.Fatal(r.Decision.Statuses(), err)
						}
					}
					spent[which] += time.Since(start)
				}
			}
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "leased/memory")
		})
	}
}
