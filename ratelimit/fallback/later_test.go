package fallback_test

import (
	"context"
	"errors"
	"testing"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// deaf is a store whose Give fails.
type deaf struct{ *memory.Store }

func (deaf) Give(context.Context, *ratelimit.Batch) error { return errors.New("deaf") }

// TestStore_Give_later checks that it is known that a record isn't deleted yet: after
// the first failure, and when the store is known to fail.
func TestStore_Give_later(t *testing.T) {
	q, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	limiter := ratelimit.New(fallback.New(deaf{memory.New()}, fallback.Options{}))
	taken := make([]ratelimit.Reservation, 6)
	for i := range taken {
		if err := limiter.Reserve(t.Context(), &taken[i], q, "", 1); err != nil || taken[i].Alone() {
			t.Fatal(err, taken[i].Alone())
		}
		taken[i].SetRecord("r")
	}
	for i := range taken {
		if err := taken[i].Release(t.Context()); err != nil || !taken[i].Alone() {
			t.Errorf("release %d: %v, alone: %v; want true", i, err, taken[i].Alone())
		}
	}
}
