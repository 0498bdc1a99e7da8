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

// anHourAhead is a store whose clock is an hour ahead.
type anHourAhead struct{ *memory.Store }

func (a anHourAhead) Take(ctx context.Context, b *ratelimit.Batch) error {
	b.Now += int64(time.Hour)
	return a.Store.Take(ctx, b)
}

func (a anHourAhead) Give(ctx context.Context, b *ratelimit.Batch) error {
	b.Now += int64(time.Hour)
	return a.Store.Give(ctx, b)
}

// leaseTime notes the time for which a lease is wanted, and has none.
type leaseTime struct {
	ratelimit.Allowances
	now int64
}

func (l *leaseTime) Lease(_ context.Context, b *ratelimit.Batch) (bool, error) {
	l.now = b.Now
	return false, nil
}

// Each step is described by the clock that has decided it, and units are leased for
// the period of the local one.
func TestSplit_clocks(t *testing.T) {
	now := time.Date(2026, time.March, 10, 23, 30, 0, 0, time.UTC)
	clock := ratelimit.WithClock(func() time.Time { return now })
	store := ratelimit.NewSplit(memory.New(), anHourAhead{memory.New()})
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "4h"},
		{Name: "queue", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "10s", MaxWait: "5s"},
		{Name: "daily", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	var r ratelimit.Reservation
	if err := ratelimit.New(store, clock).Reserve(t.Context(), &r, quota, "", 1); err != nil {
		t.Fatal(err)
	}
	want := func(resets ...time.Duration) {
		t.Helper()
		for i, s := range r.Decision.Statuses() {
			if s.ResetAfter != resets[i] {
				t.Errorf("%s: ResetAfter = %v, want %v", s.Policy.Name, s.ResetAfter, resets[i])
			}
		}
	}
	want(3*time.Hour+30*time.Minute, time.Second, 30*time.Minute)
	now = now.Add(500 * time.Millisecond)
	if err := r.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(3*time.Hour+30*time.Minute-500*time.Millisecond, 0, 30*time.Minute-500*time.Millisecond)

	leases := new(leaseTime)
	limiter := ratelimit.New(ratelimit.NewSplit(memory.New(), anHourAhead{memory.New()}), clock, ratelimit.WithAllowances(leases))
	if err := limiter.Reserve(t.Context(), &r, quota, "", 1); !errors.Is(err, ratelimit.ErrNoLease) || leases.now != now.UnixNano() {
		t.Errorf("leased for %v, error %v; want %v and none", time.Unix(0, leases.now).UTC(), err, now)
	}
}
