package memory

import (
	"math/rand/v2"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// TestLookup_hint checks that subjects which remember where their counters were
// are decided like those that don't, while records are created, moved, swept and
// evicted, and while the quotas are used with another store.
func TestLookup_hint(t *testing.T) {
	const subjects, takes = 4000, 150_000
	plans := []*ratelimit.Quota{
		mustQuota(t, ratelimit.Policy{Name: "brief", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "2s"}),
		mustQuota(t,
			ratelimit.Policy{Name: "hour", Algorithm: ratelimit.FixedWindow, Limit: 20, Period: "1h"},
			ratelimit.Policy{Name: "brief", Algorithm: ratelimit.FixedWindow, Limit: 3, Period: "2s"},
			ratelimit.Policy{Name: "owner", Algorithm: ratelimit.FixedWindow, Limit: 50, Period: "10s", Per: ratelimit.PerOwner},
		),
	}
	for _, bytes := range []int{4 << 10, maxShardBytes} { // per shard; with 4 KiB, subjects are evicted
		remembers, forgets, other := newTestLimiter(), newTestLimiter(), newTestLimiter()
		for i := range remembers.store.shards {
			remembers.store.shards[i].maxBytes, forgets.store.shards[i].maxBytes = bytes, bytes
		}
		var kept [2][subjects]*ratelimit.Quota
		for plan, q := range plans {
			for i := range subjects {
				kept[plan][i] = bind(q, i)
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for n := range takes {
			plan, i, cost := rng.IntN(2), rng.IntN(subjects), rng.Int64N(3)
			if rng.IntN(3) > 0 {
				i /= 50 // some subjects are used often
			}
			if rng.IntN(8) == 0 {
				other.take(t, kept[plan][i], 1)
			}
			got := remembers.take(t, kept[plan][i], cost)
			want := forgets.take(t, bind(plans[plan], i), cost)
			for p, st := range want.Decision.Statuses() {
				if g := got.Decision.Statuses()[p]; g.Remaining != st.Remaining || g.Allowed != st.Allowed {
					t.Fatalf("take %d of subject %d, %s: %d units left, want %d", n, i, st.Policy.Name, g.Remaining, st.Remaining)
				}
			}
			step := time.Duration(rng.Int64N(int64(4 * time.Millisecond)))
			remembers.at, forgets.at, other.at = remembers.at.Add(step), forgets.at.Add(step), other.at.Add(step)
		}
		t.Logf("%d bytes a shard: %d subjects are left", bytes, remembers.store.Len())
	}
}

// TestLookup_hint_saves_the_index checks that a hint is used.
func TestLookup_hint_saves_the_index(t *testing.T) {
	c := newTestLimiter()
	q := bind(mustQuota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}), 0)
	c.take(t, q, 1) // creates the record
	c.take(t, q, 1) // finds it
	for i := range c.store.shards {
		clear(c.store.shards[i].index.slots)
	}
	if left := c.take(t, q, 1).Decision.Statuses()[0].Remaining; left != 7 {
		t.Errorf("%d units left, want 7: the record was looked up in the index", left)
	}
}

// TestLookup_hint_of_another_store uses the quotas of a large store with a small
// one, which has no records of these numbers.
func TestLookup_hint_of_another_store(t *testing.T) {
	large, small := newTestLimiter(), newTestLimiter()
	plan := mustQuota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"})
	for i := range 3000 {
		q := bind(plan, i)
		large.take(t, q, 1) // creates the record
		large.take(t, q, 1) // finds it
		if left := small.take(t, q, 1).Decision.Statuses()[0].Remaining; left != 9 {
			t.Fatalf("%d units left in the other store, want 9", left)
		}
	}
}
