package redis_test

import (
	"context"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/redis"
)

// TestStore_slot_of_a_lost_answer checks that a concurrency slot is free soon after
// Redis answers again, not after its hold, if Redis performed a take whose caller had
// stopped waiting: because of the timeout, or by itself.
func TestStore_slot_of_a_lost_answer(t *testing.T) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "slots", Algorithm: ratelimit.Concurrency, Limit: 1, Hold: "24h"},
		{Name: "hour", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "366d"},
	}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for name, patience := range map[string]time.Duration{"timeout": time.Hour, "caller_gone": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			server := testkit.Redis(t)
			direct := ratelimit.New(redis.New(connect(t, server.URL())))
			await := func(what string, slots int64) {
				t.Helper()
				for deadline := time.Now().Add(recovery); ; time.Sleep(10 * time.Millisecond) {
					d, err := direct.PeekAll(ctx, quota)
					if err != nil {
						t.Fatal(err)
					}
					if d.Statuses()[0].Remaining == slots {
						return
					}
					if time.Now().After(deadline) {
						t.Fatalf("%s: %+v", what, d.Statuses())
					}
				}
			}
			proxy := testkit.NewProxy(t, server.Addr())
			store := fallback.New(redis.New(connect(t, "redis://"+proxy.Addr())), fallback.Options{Timeout: time.Second})
			if err := store.Start(ctx); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Stop(ctx) })
			limiter := ratelimit.New(store)
			if _, err := limiter.PeekAll(ctx, quota); err != nil { // connects
				t.Fatal(err)
			}

			proxy.HoldResponses()
			bounded, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			var r ratelimit.Reservation
			switch err := limiter.Reserve(bounded, &r, quota, "", 1); {
			case err == nil && r.Alone():
				if err := r.Release(ctx); err != nil {
					t.Fatal(err)
				}
			case err == nil || bounded.Err() == nil:
				t.Fatalf("error %v, alone %v; want a decision alone", err, r.Alone())
			}
			await("Redis has performed the take", 0)
			proxy.ReleaseResponses()
			await("the slot is free", 1)
		})
	}
}
