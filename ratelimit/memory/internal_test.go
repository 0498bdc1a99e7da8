package memory

import (
	"context"
	"strconv"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

var ctx = context.Background()

// testLimiter is a limiter over a store with a manually set clock.
type testLimiter struct {
	*ratelimit.Limiter
	store *Store
	at    time.Time
}

func newTestLimiter(opts ...Option) *testLimiter {
	c := &testLimiter{store: New(opts...), at: time.Unix(1_700_000_000, 0)}
	c.Limiter = ratelimit.New(c.store, ratelimit.WithClock(func() time.Time { return c.at }))
	return c
}

func (c *testLimiter) take(t testing.TB, q *ratelimit.Quota, cost int64) *ratelimit.Reservation {
	t.Helper()
	var r ratelimit.Reservation
	if err := c.Reserve(ctx, &r, q, "", cost); err != nil {
		t.Fatal(err)
	}
	return &r
}

func mustQuota(t testing.TB, policies ...ratelimit.Policy) *ratelimit.Quota {
	t.Helper()
	q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func bind(q *ratelimit.Quota, i int) *ratelimit.Quota {
	return q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i % 10)})
}

// TestSweep_RemovesIdleSubjects checks that the store doesn't grow with subjects
// that never return, and that takes of one active subject empty it.
func TestSweep_RemovesIdleSubjects(t *testing.T) {
	c := newTestLimiter()
	q := mustQuota(t,
		ratelimit.Policy{Name: "s", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s"},
		ratelimit.Policy{Name: "l", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1s"},
		ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "1s"},
	)
	const second = 2000
	largest := 0
	for i := range 30 * second {
		c.take(t, bind(q, i), 1)
		if c.at = c.at.Add(time.Second / second); i%second == 0 {
			largest = max(largest, c.store.Len())
		}
	}
	// Subjects live for one second and ratelimit.Skew.
	if live := (1 + 5) * second; largest > 2*live {
		t.Errorf("Len = %d with %d live subjects", largest, live)
	}
	c.at = c.at.Add(time.Hour)
	hot := bind(q, -1)
	for range 32 * len(c.store.shards) * sweepEvery {
		c.take(t, hot, 0)
	}
	if n := c.store.Len(); n != 0 {
		t.Errorf("Len = %d after an hour, want 0", n)
	}
	for i := range c.store.shards {
		if sh := &c.store.shards[i]; len(sh.freeLists) != len(sh.lists) {
			t.Fatalf("shard %d leaks %d lists", i, len(sh.lists)-len(sh.freeLists))
		}
	}
}

func TestSweep_KeepsActiveSubjects(t *testing.T) {
	c := newTestLimiter()
	hour := mustQuota(t, ratelimit.Policy{Name: "h", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "100h"})
	brief := mustQuota(t, ratelimit.Policy{Name: "b", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"})
	for i := range 1000 {
		c.take(t, bind(hour, i), 7)
	}
	for i := range 50_000 {
		c.take(t, bind(brief, i), 1)
		c.at = c.at.Add(10 * time.Millisecond)
	}
	for i := range 1000 {
		if got := c.take(t, bind(hour, i), 0).Decision.Statuses()[0].Remaining; got != 3 {
			t.Fatalf("subject %d: Remaining = %d, want 3", i, got)
		}
	}
}

// TestTake_KeyAndOwnerInOneShard creates the record of one subject while the
// record of the other is idle and could be swept, evicted or moved.
func TestTake_KeyAndOwnerInOneShard(t *testing.T) {
	for _, max := range []int{0, DefaultMaxBytes} {
		c := newTestLimiter(WithMaxBytes(max))
		policies := []ratelimit.Policy{
			{Name: "per_key", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"},
			{Name: "per_owner", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s", Per: ratelimit.PerOwner},
		}
		both, keyOnly, ownerOnly := mustQuota(t, policies...), mustQuota(t, policies[:1]...), mustQuota(t, policies[1:]...)
		for i := range 20_000 {
			q := both.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i)})
			s := q.Subjects()
			// Only one of the two records exists, and it is idle.
			if i%2 == 0 {
				c.take(t, keyOnly.For(s), 1)
			} else {
				c.take(t, ownerOnly.For(s), 1)
			}
			c.at = c.at.Add(time.Minute)
			r := c.take(t, q, 4)
			for _, st := range c.take(t, q, 0).Decision.Statuses() {
				if st.Remaining != 6 {
					t.Fatalf("subject %d: %s: Remaining = %d, want 6", i, st.Policy.Name, st.Remaining)
				}
			}
			if err := r.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}
