package memory

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// TestLateCallersFindWhatWasSpent: a subject that has just become idle isn't
// forgotten yet, for a caller who read the clock before may still arrive.
func TestLateCallersFindWhatWasSpent(t *testing.T) {
	c := newClocked()
	q := quota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"})
	c.take(t, of(q, -1), 10)
	for _, wait := range []time.Duration{time.Second, 4 * time.Second} {
		c.at = c.at.Add(wait)
		for i := range 20_000 {
			c.take(t, of(q, i), 1)
		}
		late := c.at.Add(-wait)
		c.at, late = late, c.at
		if r := c.take(t, of(q, -1), 1); r.Decision.Allowed {
			t.Fatalf("%v late, a spent window was found fresh", wait)
		}
		c.at = late
		c.at = c.at.Add(-wait)
	}
}

// TestRecordsThatGrowLeaveNothingBehind adds policies to subjects one by one,
// and changes their algorithms.
func TestRecordsThatGrowLeaveNothingBehind(t *testing.T) {
	c := newClocked()
	policies := []ratelimit.Policy{
		{Name: "a", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"},
		{Name: "b", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"},
		{Name: "c", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "1h"},
		{Name: "d", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1h"},
	}
	const subjects = 5000
	const cells = 6 // of a record with room for four counters and that of the changed policy
	for i := range subjects {
		for n := 1; n <= len(policies); n++ {
			c.take(t, of(quota(t, policies[:n]...), i), 1)
		}
		changed := policies[0]
		changed.Algorithm = ratelimit.FixedWindow
		c.take(t, of(quota(t, changed), i), 1)
	}
	for i := range c.store.shards {
		sh := &c.store.shards[i]
		for class, size := range classes {
			live := int(sh.slabs[class].made) - len(sh.slabs[class].free)
			if size == cells && live != sh.index.used || size != cells && live != 0 {
				t.Fatalf("shard %d of %d subjects has %d records of %d cells", i, sh.index.used, live, size)
			}
			if size < cells && sh.slabs[class].made > 2 {
				t.Fatalf("shard %d made %d records of %d cells", i, sh.slabs[class].made, size)
			}
		}
		if live := len(sh.lists) - len(sh.freeLists); live != 2*sh.index.used { // the log and the slots
			t.Fatalf("shard %d of %d subjects has %d lists", i, sh.index.used, live)
		}
	}
}

// TestSubjectsInEachOthersShardsDontDeadlock takes at once from two quotas of
// which each one's key lies in the shard of the other one's owner.
func TestSubjectsInEachOthersShardsDontDeadlock(t *testing.T) {
	q := quota(t,
		ratelimit.Policy{Name: "mine", Algorithm: ratelimit.FixedWindow, Limit: 1 << 30, Period: "24h"},
		ratelimit.Policy{Name: "ours", Algorithm: ratelimit.FixedWindow, Limit: 1 << 30, Period: "24h", Per: ratelimit.PerOwner},
	)
	// The shard of a name, found by which shard a take makes a subject in.
	shard := func(p ratelimit.Per, name string) int {
		c := newClocked()
		one := quota(t, ratelimit.Policy{Name: "x", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "24h", Per: p})
		c.take(t, one.For(ratelimit.Subjects{Key: name, Owner: name}), 1)
		for i := range c.store.shards {
			if c.store.shards[i].index.used > 0 {
				return i
			}
		}
		panic("no shard")
	}
	keys, owners := map[int]string{}, map[int]string{}
	for i := range 150 {
		keys[shard(ratelimit.PerKey, strconv.Itoa(i))] = strconv.Itoa(i)
		owners[shard(ratelimit.PerOwner, strconv.Itoa(i))] = strconv.Itoa(i)
	}
	var common []int
	for at := range keys {
		if owners[at] != "" {
			common = append(common, at)
		}
	}
	if len(common) < 2 {
		t.Fatal("no two shards in common")
	}
	c := newClocked()
	var wg sync.WaitGroup
	for i := range 2 {
		mine := q.For(ratelimit.Subjects{Key: keys[common[i]], Owner: owners[common[1-i]]})
		wg.Go(func() {
			for range 100_000 {
				c.take(t, mine, 1)
			}
		})
	}
	wg.Wait()
}

// TestSubjectsOfOneTagAreTold: the index keeps half of a hash, the record all.
func TestSubjectsOfOneTagAreTold(t *testing.T) {
	sh := &shard{maxSubjects: 100}
	hashes := [][2]uint64{{1, 7}, {2, 7}, {1, 7 | 1<<40}, {3, 7 | 5<<33}}
	refs := map[ref]bool{}
	for _, h := range hashes {
		if r, rec := sh.lookup(h); r != 0 || rec != nil {
			t.Fatalf("%v is found before it was made", h)
		}
		r, rec := sh.create(h, 0, 0)
		rec.setIdleAt(1)
		refs[r] = true
	}
	if len(refs) != len(hashes) {
		t.Fatalf("%d records for %d subjects", len(refs), len(hashes))
	}
	for _, h := range hashes {
		if _, rec := sh.lookup(h); rec[0] != h[0] || rec[1] != h[1] {
			t.Fatalf("%v finds %v", h, rec[:2])
		}
	}
}

func TestTooManyPolicies(t *testing.T) {
	c := newClocked()
	numbered := func(i int) *ratelimit.Quota {
		p := ratelimit.Policy{Name: "p" + strconv.Itoa(i), Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}
		return of(quota(t, p), 0)
	}
	for i := range 256 {
		c.take(t, numbered(i), 4)
	}
	for i := range 256 {
		if got := c.take(t, numbered(i), 0).Decision.Statuses()[0].Remaining; got != 6 {
			t.Fatalf("policy %d has %d left", i, got)
		}
	}
	var r ratelimit.Reservation
	if err := c.Reserve(ctx, &r, numbered(256), "", 1); err == nil || r.Decision.Allowed {
		t.Errorf("one policy more: %v", err)
	}
}

// TestIndexAgainstMap compares the index with a Go map over random inserts,
// replacements and removals, with tags that collide often.
func TestIndexAgainstMap(t *testing.T) {
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
			t.Fatalf("%d used, not %d", x.used, len(want))
		}
		if r := anyRef(); r != 0 && !finds(&x, want[r], r) {
			t.Fatalf("%d is not found", r)
		}
	}
	for r, hash := range want {
		if !finds(&x, hash, r) {
			t.Fatalf("%d is not found in the end", r)
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
