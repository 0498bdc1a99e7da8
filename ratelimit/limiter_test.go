package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// testClock is a manually advanced clock.
type testClock struct{ at time.Time }

func newTestClock() *testClock {
	return &testClock{at: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (c *testClock) now() time.Time          { return c.at }
func (c *testClock) advance(d time.Duration) { c.at = c.at.Add(d) }

var ctx = context.Background()

func mustQuota(t testing.TB, policies ...ratelimit.Policy) *ratelimit.Quota {
	t.Helper()
	q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var freePlan = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 300, Period: "1m"},
	{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10000, Period: "month", TimeZone: "Europe/Berlin", AnchorDay: 15},
}

func TestReserve_FirstRequest(t *testing.T) {
	clock := newTestClock()
	l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
	q := mustQuota(t, freePlan...)
	var r ratelimit.Reservation
	if err := l.Reserve(ctx, &r, q, "products:read", 1); err != nil || !r.Decision.Allowed {
		t.Fatal(err, r.Decision)
	}
	if got, want := q.PolicyField("any"), `"burst";q=20;w=2, "minute";q=300;w=60, "monthly";q=10000`; got != want {
		t.Errorf("PolicyField =\n%s, want\n%s", got, want)
	}
	// t=1206000 is the time from January 1, 00:00 UTC to January 15, 00:00 in
	// Berlin.
	want := `"burst";r=19;t=1, "minute";r=299;t=60, "monthly";r=9999;t=1206000`
	if got := string(r.Decision.AppendField(nil)); got != want {
		t.Errorf("AppendField =\n%s, want\n%s", got, want)
	}
}

func TestReserve_RefusalTakesNothing(t *testing.T) {
	clock := newTestClock()
	l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
	q := mustQuota(t, freePlan...)
	var r ratelimit.Reservation
	allowed := 0
	for range 100 {
		if err := l.Reserve(ctx, &r, q, "", 1); err != nil {
			t.Fatal(err)
		}
		if r.Decision.Allowed {
			allowed++
		}
	}
	if allowed != 20 {
		t.Errorf("%d requests were admitted, want the burst of 20", allowed)
	}
	if got := r.Decision.Statuses()[1].Remaining; got != 280 {
		t.Errorf("minute: Remaining = %d, want 280", got)
	}
	after, ok := r.Decision.RetryAfter()
	if !ok || after != 100*time.Millisecond {
		t.Errorf("RetryAfter = %v, %v, want 100ms, true", after, ok)
	}
	clock.advance(after)
	if err := l.Reserve(ctx, &r, q, "", 1); err != nil || !r.Decision.Allowed {
		t.Errorf("retry is refused by %v: %v", r.Decision.Violated(), err)
	}
}

func TestReserve_DoesNotAllocate(t *testing.T) {
	l := ratelimit.New(memory.New())
	q := mustQuota(t, freePlan...)
	var r ratelimit.Reservation
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(1000, func() {
		_ = l.Reserve(ctx, &r, q, "products:read", 1)
		_ = r.Settle(ctx, ratelimit.Rejected)
		buf = r.Decision.AppendField(buf[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
