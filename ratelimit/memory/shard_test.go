package memory

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// TestSweep_KeepsIdleSubjectsForLateCallers checks that a subject is kept for
// ratelimit.Skew after it becomes idle, because a caller that read the clock
// earlier may still arrive.
func TestSweep_KeepsIdleSubjectsForLateCallers(t *testing.T) {
	c := newTestLimiter()
	q := mustQuota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"})
	c.take(t, bind(q, -1), 10)
	for _, wait := range []time.Duration{time.Second, 4 * time.Second} {
		c.at = c.at.Add(wait)
		for i := range 20_000 {
			c.take(t, bind(q, i), 1)
		}
		late := c.at.Add(-wait)
		c.at, late = late, c.at
		if r := c.take(t, bind(q, -1), 1); r.Decision.Allowed {
			t.Fatalf("a caller %v late found a spent window fresh", wait)
		}
		c.at = late
		c.at = c.at.Add(-wait)
	}
}

// TestShard_GrowingRecordsDoNotLeak adds policies to subjects one by one and
// changes an algorithm.
func TestShard_GrowingRecordsDoNotLeak(t *testing.T) {
	c := newTestLimiter()
	policies := []ratelimit.Policy{
		{Name: "a", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"},
		{Name: "b", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"},
		{Name: "c", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "1h"},
		{Name: "d", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"},
	}
	const subjects = 5000
	const cells = 6 // class of a record with five counters: four policies and the changed one
	for i := range subjects {
		for n := 1; n <= len(policies); n++ {
			c.take(t, bind(mustQuota(t, policies[:n]...), i), 1)
		}
		changed := policies[0]
		changed.Algorithm = ratelimit.FixedWindow
		c.take(t, bind(mustQuota(t, changed), i), 1)
	}
	for i := range c.store.shards {
		sh := &c.store.shards[i]
		for class, size := range classes {
			live := int(sh.slabs[class].used)
			if size == cells && live != sh.index.used || size != cells && live != 0 {
				t.Fatalf("shard %d of %d subjects has %d records of %d cells", i, sh.index.used, live, size)
			}
			if size != cells && len(sh.slabs[class].chunks) > 1 {
				t.Fatalf("shard %d has allocated %d chunks of records of %d cells", i, len(sh.slabs[class].chunks), size)
			}
		}
		if live := len(sh.lists) - len(sh.freeLists); live != 2*sh.index.used { // sliding_log and concurrency
			t.Fatalf("shard %d of %d subjects has %d lists", i, sh.index.used, live)
		}
	}
}

// TestStore_LockOrder takes concurrently from two quotas, where the key of each is
// in the shard of the other's owner.
func TestStore_LockOrder(t *testing.T) {
	q := mustQuota(t,
		ratelimit.Policy{Name: "per_key", Algorithm: ratelimit.FixedWindow, Limit: 1 << 30, Period: "24h"},
		ratelimit.Policy{Name: "per_owner", Algorithm: ratelimit.FixedWindow, Limit: 1 << 30, Period: "24h", Per: ratelimit.PerOwner},
	)
	// shardOfName returns the shard in which a take creates the subject.
	shardOfName := func(p ratelimit.Per, name string) int {
		c := newTestLimiter()
		one := mustQuota(t, ratelimit.Policy{Name: "x", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "24h", Per: p})
		c.take(t, one.For(ratelimit.Subjects{Key: name, Owner: name}), 1)
		for i := range c.store.shards {
			if c.store.shards[i].index.used > 0 {
				return i
			}
		}
		panic("no shard has a subject")
	}
	keys, owners := map[int]string{}, map[int]string{}
	for i := range 150 {
		keys[shardOfName(ratelimit.PerKey, strconv.Itoa(i))] = strconv.Itoa(i)
		owners[shardOfName(ratelimit.PerOwner, strconv.Itoa(i))] = strconv.Itoa(i)
	}
	var common []int
	for at := range keys {
		if owners[at] != "" {
			common = append(common, at)
		}
	}
	if len(common) < 2 {
		t.Fatal("fewer than two shards have both a key and an owner")
	}
	c := newTestLimiter()
	var wg sync.WaitGroup
	for i := range 2 {
		bound := q.For(ratelimit.Subjects{Key: keys[common[i]], Owner: owners[common[1-i]]})
		wg.Go(func() {
			for range 100_000 {
				c.take(t, bound, 1)
			}
		})
	}
	wg.Wait()
}

// TestShard_TagCollisions checks that subjects whose hashes have the same tag in
// the index get different records.
func TestShard_TagCollisions(t *testing.T) {
	sh := &shard{maxBytes: minShardBytes}
	hashes := [][2]uint64{{1, 7}, {2, 7}, {1, 7 | 1<<40}, {3, 7 | 5<<33}}
	refs := map[ref]bool{}
	for _, h := range hashes {
		if r, rec := sh.lookup(&ratelimit.Subject{Hash: h}); r != 0 || rec != nil {
			t.Fatalf("lookup finds %v before create", h)
		}
		r, rec := sh.create(&ratelimit.Subject{Hash: h}, 0)
		rec.setIdleAt(1)
		refs[r] = true
	}
	if len(refs) != len(hashes) {
		t.Fatalf("%d records for %d subjects", len(refs), len(hashes))
	}
	for _, h := range hashes {
		if _, rec := sh.lookup(&ratelimit.Subject{Hash: h}); rec[0] != h[0] || rec[1] != h[1] {
			t.Fatalf("lookup of %v finds %v", h, rec[:2])
		}
	}
}

func TestTake_TooManyPolicies(t *testing.T) {
	c := newTestLimiter()
	numbered := func(i int) *ratelimit.Quota {
		p := ratelimit.Policy{Name: "p" + strconv.Itoa(i), Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}
		return bind(mustQuota(t, p), 0)
	}
	for i := range 256 {
		c.take(t, numbered(i), 4)
	}
	for i := range 256 {
		if got := c.take(t, numbered(i), 0).Decision.Statuses()[0].Remaining; got != 6 {
			t.Fatalf("policy %d: Remaining = %d, want 6", i, got)
		}
	}
	var r ratelimit.Reservation
	if err := c.Reserve(ctx, &r, numbered(256), "", 1); err == nil || r.Decision.Allowed {
		t.Errorf("policy 256: err = %v, allowed = %v, want an error", err, r.Decision.Allowed)
	}
}

// TestIndex_MatchesMap compares the index with a map over random inserts,
// replacements and removals, with frequent tag collisions.
func TestIndex_MatchesMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var x index
	want := map[ref][2]uint64{}
	next := ref(1)
	anyRef := func() ref {
		for r := range want {
			return r
		}
		return 0
	}
	for range 40_000 {
		switch r := anyRef(); {
		case r == 0 || rng.IntN(100) < 51:
			hash := [2]uint64{rng.Uint64(), uint64(rng.IntN(500)) | rng.Uint64()<<40}
			x.insert(hash, next)
			want[next] = hash
			next++
		case rng.IntN(4) == 0:
			x.replace(want[r], r, next)
			want[next] = want[r]
			delete(want, r)
			next++
		default:
			x.remove(want[r], r)
			delete(want, r)
		}
		if x.used != len(want) {
			t.Fatalf("used = %d, want %d", x.used, len(want))
		}
		if r := anyRef(); r != 0 && !finds(&x, want[r], r) {
			t.Fatalf("ref %d isn't found", r)
		}
	}
	for r, hash := range want {
		if !finds(&x, hash, r) {
			t.Fatalf("ref %d isn't found after all changes", r)
		}
	}
}

func finds(x *index, hash [2]uint64, want ref) bool {
	for at := x.first(hash); ; at = x.next(at) {
		r, ok := x.at(at, hash)
		if !ok || r == want {
			return ok
		}
	}
}
