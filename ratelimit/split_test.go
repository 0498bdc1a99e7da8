package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/storetest"
)

func TestSplit_Conformance(t *testing.T) {
	storetest.Run(t, func(*testing.T, func() time.Time) ratelimit.Store {
		return ratelimit.NewSplit(memory.New(), memory.New())
	})
}

// failing is a Store whose Take fails while fail is set.
type failing struct {
	ratelimit.Store
	fail bool
}

var errFailing = errors.New("no answer")

func (f *failing) Take(ctx context.Context, b *ratelimit.Batch) error {
	if f.fail {
		return errFailing
	}
	return f.Store.Take(ctx, b)
}

func TestSplit_gives_back(t *testing.T) {
	shared := &failing{Store: memory.New()}
	limiter := ratelimit.New(ratelimit.NewSplit(memory.New(), shared))
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "1h"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month},
		{Name: "owned", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month, Per: ratelimit.PerOwner, Mode: ratelimit.Shadow},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	take := func(cost int64) (bool, error) {
		var r ratelimit.Reservation
		err := limiter.Reserve(t.Context(), &r, quota, "", cost)
		return r.Decision.Allowed, err
	}
	want := func(step string, window, monthly, owned int64) {
		t.Helper()
		d, err := limiter.PeekAll(t.Context(), quota)
		if err != nil {
			t.Fatal(err)
		}
		got := [3]int64{d.Statuses()[0].Remaining, d.Statuses()[1].Remaining, d.Shadows()[0].Remaining}
		if got != [3]int64{window, monthly, owned} {
			t.Errorf("%s: %v remain, want %v", step, got, [3]int64{window, monthly, owned})
		}
	}
	if ok, err := take(2); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want("taken", 1, 8, 8)
	if ok, err := take(2); ok || err != nil {
		t.Fatal(ok, err)
	}
	want("refused by the shared store", 1, 8, 8)
	shared.fail = true
	if ok, err := take(1); ok || !errors.Is(err, errFailing) {
		t.Fatal(ok, err)
	}
	shared.fail = false
	want("the shared store fails", 1, 8, 8)
	if ok, err := take(9); ok || err != nil {
		t.Fatal(ok, err)
	}
	want("refused by the local store", 1, 8, 8)
}
