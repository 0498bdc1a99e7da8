package memory

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// policies returns n policies that differ from p in their names.
func policies(n int, p ratelimit.Policy) []ratelimit.Policy {
	list := make([]ratelimit.Policy, n)
	for i := range list {
		list[i] = p
		list[i].Name = "p" + strconv.Itoa(i)
	}
	return list
}

var (
	hourly = ratelimit.Policy{Name: "h", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"}
	log    = ratelimit.Policy{Name: "l", Algorithm: ratelimit.SlidingLog, Limit: ratelimit.MaxLogLimit, Period: "1h"}
	short  = ratelimit.Policy{Name: "s", Algorithm: ratelimit.SlidingWindow, Limit: 1, Period: "1h"}
	slots  = ratelimit.Policy{Name: "c", Algorithm: ratelimit.Concurrency, Limit: ratelimit.MaxLimit, Hold: "1h"}
)

// TestEvict_FloodByOneOwner spends the quotas of many owners, then far more
// subjects of one other owner than fit. None of the quotas becomes fresh.
func TestEvict_FloodByOneOwner(t *testing.T) {
	for name, flood := range map[string]*ratelimit.Quota{
		"one_window":   mustQuota(t, hourly),
		"sixteen_logs": mustQuota(t, policies(ratelimit.MaxPolicies, log)...),
	} {
		t.Run(name, func(t *testing.T) {
			const bound, owners, quotas = 16 << 20, 10_000, 20_000 // a quarter of the store
			c, q := newTestLimiter(WithMaxBytes(bound)), mustQuota(t, hourly)
			victim := func(i int) *ratelimit.Quota {
				return q.For(ratelimit.Subjects{Key: "victim " + strconv.Itoa(i), Owner: "owner " + strconv.Itoa(i%owners)})
			}
			for i := range quotas {
				c.take(t, victim(i), hourly.Limit)
			}
			spent, subjects := 0, 0
			for ; spent < 2*bound; subjects++ {
				c.take(t, flood.For(ratelimit.Subjects{Key: strconv.Itoa(subjects), Owner: "flooder"}), 1)
				spent += 80 * len(flood.Policies())
			}
			if kept := c.store.Len() - quotas; kept > subjects/2 || kept < subjects/20 {
				t.Errorf("%d of the flood's %d subjects are kept", kept, subjects)
			}
			fresh := 0
			for i := range quotas {
				if c.take(t, victim(i), 1).Decision.Allowed {
					fresh++
				}
			}
			if fresh > 0 {
				t.Errorf("%d of %d spent quotas are fresh", fresh, quotas)
			}
		})
	}
}

// TestEvict_WithinAnAccount checks that of one account the counters that become
// idle first are evicted.
func TestEvict_WithinAnAccount(t *testing.T) {
	c := newTestLimiter(WithMaxBytes(16 << 20))
	long, brief := hourly, hourly
	long.Period = "366d"
	const subjects = 1000
	for i := range subjects {
		c.take(t, mustQuota(t, long).For(ratelimit.Subjects{Key: "long " + strconv.Itoa(i)}), 5)
	}
	q := mustQuota(t, brief)
	for i := range 300_000 {
		c.take(t, q.For(ratelimit.Subjects{Key: strconv.Itoa(i)}), 1)
	}
	lost := 0
	for i := range subjects {
		if c.take(t, mustQuota(t, long).For(ratelimit.Subjects{Key: "long " + strconv.Itoa(i)}), 0).Decision.Statuses()[0].Remaining == 10 {
			lost++
		}
	}
	if lost > subjects/10 {
		t.Errorf("%d of %d subjects with a long period were evicted", lost, subjects)
	}
}

// heap returns the size of the live heap in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestWithMaxBytes_heap fills one store with every kind of subject in turn, each
// far beyond the bound, and measures the heap after each.
func TestWithMaxBytes_heap(t *testing.T) {
	const bound = 16 << 20
	before := heap()
	c := newTestLimiter(WithMaxBytes(bound))
	fill := func(q *ratelimit.Quota, subjects, takes int, owner func(int) string) func() {
		return func() {
			for i := range subjects {
				bound := q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: owner(i)})
				for range takes {
					var r ratelimit.Reservation
					if err := c.Reserve(ctx, &r, bound, "", 1); err != nil && !errors.Is(err, errTooLarge) {
						t.Fatal(err)
					}
					c.at = c.at.Add(1) // each take is an entry of its own
				}
			}
		}
	}
	one := func(int) string { return "one" }
	for _, kind := range []struct {
		name string
		fill func()
	}{
		{"small records", fill(mustQuota(t, hourly), 200_000, 1, one)},
		{"16 windows", fill(mustQuota(t, policies(16, hourly)...), 30_000, 1, one)},
		{"16 logs", fill(mustQuota(t, policies(16, log)...), 10_000, 1, one)},
		{"16 short windows", fill(mustQuota(t, policies(16, short)...), 10_000, 1, one)},
		{"16 growing logs", fill(mustQuota(t, policies(16, log)...), 50, 100, one)},
		{"a short window", fill(mustQuota(t, short), 80_000, 1, one)},
		{"holders", fill(mustQuota(t, slots), 20, 5_000, one)},
		{"small records again", fill(mustQuota(t, hourly), 200_000, 1, one)},
		{"an account each", fill(mustQuota(t, hourly), 150_000, 1, strconv.Itoa)},
	} {
		kind.fill()
		got := float64(heap()-before) / bound
		content := 0
		for i := range c.store.shards {
			for _, owner := range c.store.shards[i].accounts.numbered {
				content += owner.size
			}
		}
		t.Logf("%s: %d subjects, %.2f × the bound, content %.2f", kind.name, c.store.Len(), got, float64(content)/bound)
		if got > 1.15 || content < bound*3/10 {
			t.Errorf("%s: the heap is %.2f × the bound, want at most 1.15, with %d bytes of content", kind.name, got, content)
		}
	}
	runtime.KeepAlive(c)
}

// TestTake_LargestSubject fills a log of the largest limit with units and debts,
// then slides it through several periods. 16 such logs are half of a shard.
func TestTake_LargestSubject(t *testing.T) {
	c := newTestLimiter()
	q := bind(mustQuota(t, log), 0)
	step := time.Hour / (2 * ratelimit.MaxLogLimit)
	var open []*ratelimit.Reservation
	for range ratelimit.MaxLogLimit {
		open = append(open, c.take(t, q, 1))
		c.at = c.at.Add(step)
	}
	for _, r := range open {
		if err := r.Commit(ctx, 2); err != nil {
			t.Fatal(err)
		}
		c.at = c.at.Add(step)
	}
	for range 4 * ratelimit.MaxLogLimit {
		c.take(t, q, 1)
		c.at = c.at.Add(2*step - step/10)
	}
	for i := range c.store.shards {
		for _, owner := range c.store.shards[i].accounts.numbered {
			if size := ratelimit.MaxPolicies * owner.size; size < 5<<19 || size > 4<<20 {
				t.Errorf("16 of the largest logs take %d bytes, want 2.5 to 4 MiB", size)
			}
		}
	}
}

// TestGive_LeavesNoEntries reserves and gives back while an older entry stays.
func TestGive_LeavesNoEntries(t *testing.T) {
	c := newTestLimiter()
	q := bind(mustQuota(t, log), 0)
	c.take(t, q, 1)
	for range 10_000 {
		c.at = c.at.Add(time.Millisecond)
		if err := c.take(t, q, 1).Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.store.shards {
		if n := c.store.shards[i].listBytes; n > 200 {
			t.Errorf("a log of one unit takes %d bytes", n)
		}
	}
}

// TestTake_TooLarge fills a subject's part of a shard. What doesn't fit is an
// error that changes nothing.
func TestTake_TooLarge(t *testing.T) {
	c := newTestLimiter(WithMaxBytes(16 << 20))
	q := bind(mustQuota(t, slots, hourlyOf(1_000_000)), 0)
	var err error
	holders := 0
	for ; err == nil && holders < 100_000; holders++ {
		var r ratelimit.Reservation
		err = c.Reserve(ctx, &r, q, "", 1)
	}
	holders--
	if !errors.Is(err, errTooLarge) || holders < 2000 || holders > 10_000 {
		t.Fatalf("after %d holders: %v, want errTooLarge", holders, err)
	}
	statuses := c.take(t, q, 0).Decision.Statuses()
	if used := 1_000_000 - statuses[1].Remaining; used != int64(holders) {
		t.Errorf("%d units are spent by %d holders", used, holders)
	}
	c.take(t, bind(mustQuota(t, slots), 1), 1)
}

func hourlyOf(limit int64) ratelimit.Policy {
	p := hourly
	p.Limit = limit
	return p
}

// TestShard_BytesMatchesContent compares the bytes of each account with those of
// its records.
func TestShard_BytesMatchesContent(t *testing.T) {
	c := newTestLimiter(WithMaxBytes(16 << 20))
	quotas := []*ratelimit.Quota{
		mustQuota(t, hourly), mustQuota(t, log, hourly), mustQuota(t, policies(5, short)...), mustQuota(t, slots),
		mustQuota(t, ratelimit.Policy{Name: "o", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1m", Per: ratelimit.PerOwner}),
	}
	for i := range 300_000 {
		q := quotas[i*7%len(quotas)].For(ratelimit.Subjects{Key: strconv.Itoa(i * i % 50_000), Owner: fmt.Sprint("o", i%300)})
		r := c.take(t, q, 1)
		if r.Decision.Allowed && i%4 == 0 {
			_ = r.Commit(ctx, int64(i%3))
		}
		if i%1000 == 0 {
			_ = c.Reset(ctx, q)
		}
		c.at = c.at.Add(time.Millisecond)
	}
	for i := range c.store.shards {
		sh := &c.store.shards[i]
		want := map[uint64]int{}
		for class := range sh.slabs {
			for n := range sh.slabs[class].used {
				rec := sh.record(newRef(class, n))
				s := lockedSubject{shard: sh, rec: rec}
				want[rec.account()] += s.bytes()
			}
		}
		for account, bytes := range want {
			owner, inRing := sh.accounts.numbered[account], 0
			for r := owner.first; ; {
				rec := sh.record(r)
				inRing += (&lockedSubject{shard: sh, rec: rec}).bytes()
				if r = rec.next(); r == owner.first || rec.account() != account || inRing > bytes {
					break
				}
			}
			if owner.size != bytes || inRing != bytes {
				t.Fatalf("shard %d: account %d has %d bytes, its records %d, want %d", i, account, owner.size, inRing, bytes)
			}
		}
		if sh.accounts.byHash.used != len(want) || sh.bytes() > sh.maxBytes {
			t.Fatalf("shard %d: %d accounts, %d bytes; want %d, at most %d", i, sh.accounts.byHash.used, sh.bytes(), len(want), sh.maxBytes)
		}
	}
}
