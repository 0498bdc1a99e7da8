package redis_test

import (
	"errors"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/redis"
)

// TestStore_resumed settles reservations of one limiter by another, once each: also
// those of which nothing is given back in the store.
func TestStore_resumed(t *testing.T) {
	store := redis.New(connect(t, testkit.Redis(t).URL()))
	limiter := func() *ratelimit.Limiter { return ratelimit.New(ratelimit.NewSplit(memory.New(), store)) }
	a, b := limiter(), limiter()
	for _, c := range []struct {
		name      string
		policies  []ratelimit.Policy
		actual    int64
		remaining int64
	}{
		{"window", []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}}, 1, 9},
		{"exactly", []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"}}, 3, 7},
		{"more", []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"}}, 5, 5},
		{"slots", []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.Concurrency, Limit: 10}}, 3, 10},
		{"calendar_only", []ratelimit.Policy{{Name: "w", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month}}, 3, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, err := ratelimit.NewQuota(c.policies, ratelimit.Subjects{Key: c.name, Owner: "o"})
			if err != nil {
				t.Fatal(err)
			}
			var taken ratelimit.Reservation
			if err := a.Reserve(ctx, &taken, q, "", 3); err != nil || !taken.Decision.Allowed {
				t.Fatal(err)
			}
			data, err := taken.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if err := store.PutRecord(ctx, q.Slot(), c.name, data, time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, want := range []error{nil, ratelimit.ErrSettled} {
				var resumed ratelimit.Reservation
				if err := b.Resume(&resumed, c.name, data); err != nil {
					t.Fatal(err)
				}
				if err := resumed.Commit(ctx, c.actual); !errors.Is(err, want) {
					t.Errorf("Commit = %v, want %v", err, want)
				}
			}
			if data, err := store.Record(ctx, q.Slot(), c.name); data != nil || err != nil {
				t.Errorf("Record = %q, %v, want none", data, err)
			}
			d, err := a.Peek(ctx, q, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Statuses()[0].Remaining; got != c.remaining {
				t.Errorf("%d remain, want %d", got, c.remaining)
			}
		})
	}
}
