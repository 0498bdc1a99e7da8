package allowance_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/allowance"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// quick is a Durable that answers after 2 ms and loses nothing.
type quick struct{ durable }

func (q *quick) Apply(_ context.Context, requests []allowance.Request) ([]allowance.Reply, error) {
	time.Sleep(2 * time.Millisecond)
	replies := make([]allowance.Reply, len(requests))
	for i, r := range requests {
		r.Policy = fmt.Sprint(r.Counter)
		replies[i] = q.apply(r, 0)
	}
	return replies, nil
}

// TestService_cost measures what decisions cost Postgres. Time is simulated, so
// that the figures are the same on every machine.
func TestService_cost(t *testing.T) {
	for _, c := range []struct {
		limit      int64
		keys, rate int // requests a second on each key
		seconds    int
		rows       float64
		statements float64
	}{
		{limit: 10_000, keys: 10_000, rate: 1, seconds: 200, rows: 25, statements: 2},
		{limit: 1_000_000, keys: 1, rate: 100, seconds: 100, rows: 1, statements: 1},
		{limit: 1_000_000, keys: 1, rate: 1_000, seconds: 20, rows: 1, statements: 1},
		{limit: 1_000_000, keys: 1, rate: 10_000, seconds: 20, rows: 1, statements: 1},
	} {
		t.Run(fmt.Sprintf("keys=%d/rate=%d", c.keys, c.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				service := allowance.New(&quick{durable{rows: map[period]*allowance.Reply{}, rng: rand.New(rand.NewPCG(1, 1))}}, store, slog.New(slog.DiscardHandler))
				if err := service.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
				limiter := ratelimit.New(store, ratelimit.WithClock(time.Now), ratelimit.WithAllowances(service))
				plan, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: c.limit, Period: ratelimit.Month}}, ratelimit.Subjects{})
				if err != nil {
					t.Fatal(err)
				}
				var callers sync.WaitGroup
				for k := range c.keys {
					callers.Go(func() {
						quota := plan.For(ratelimit.Subjects{Key: strconv.Itoa(k)})
						rng := rand.New(rand.NewPCG(uint64(k), 0))
						time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
						for range c.rate * c.seconds {
							var r ratelimit.Reservation
							if err := limiter.Reserve(context.Background(), &r, quota, "", 1); err != nil || !r.Decision.Allowed {
								t.Errorf("Reserve = %v, %v", r.Decision.Allowed, err)
								return
							}
							time.Sleep(time.Second / time.Duration(c.rate))
						}
					})
				}
				callers.Wait()
				stats := service.Stats()
				decisions := float64(c.keys * c.rate * c.seconds)
				rows, statements := float64(stats.Rows)/decisions*1000, float64(stats.Statements)/decisions*1000
				t.Logf("limit %d, %d keys, %d a second each: %.2f rows and %.2f statements per 1,000 decisions", c.limit, c.keys, c.rate, rows, statements)
				if rows > c.rows || statements > c.statements {
					t.Errorf("want at most %.2f rows and %.2f statements", c.rows, c.statements)
				}
				if err := service.Stop(context.Background()); err != nil {
					t.Error(err)
				}
				if open := service.Stats(); open.Leased != open.Returned+int64(decisions) {
					t.Errorf("%d units leased, want %d returned and %d spent", open.Leased, open.Returned, int64(decisions))
				}
			})
		})
	}
}
