package memory

import (
	"context"
	"strconv"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

var ctx = context.Background()

// clocked is a limiter over a store, with a clock that the test sets.
type clocked struct {
	*ratelimit.Limiter
	store *Store
	at    time.Time
}

func newClocked(opts ...Option) *clocked {
	c := &clocked{store: New(opts...), at: time.Unix(1_700_000_000, 0)}
	c.Limiter = ratelimit.New(c.store, ratelimit.WithClock(func() time.Time { return c.at }))
	return c
}

func (c *clocked) take(t testing.TB, q *ratelimit.Quota, cost int64) *ratelimit.Reservation {
	t.Helper()
	var r ratelimit.Reservation
	if err := c.Reserve(ctx, &r, q, "", cost); err != nil {
		t.Fatal(err)
	}
	return &r
}

func quota(t testing.TB, policies ...ratelimit.Policy) *ratelimit.Quota {
	t.Helper()
	q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func of(q *ratelimit.Quota, i int) *ratelimit.Quota {
	return q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i % 10)})
}

// TestIdleSubjectsAreForgotten: a stream of subjects that never return leaves
// behind a store of bounded size, and one active subject is enough to empty it.
func TestIdleSubjectsAreForgotten(t *testing.T) {
	c := newClocked()
	q := quota(t,
		ratelimit.Policy{Name: "s", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s"},
		ratelimit.Policy{Name: "l", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1s"},
		ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 10, Hold: "1s"},
	)
	const second = 2000
	most := 0
	for i := range 30 * second {
		c.take(t, of(q, i), 1)
		if c.at = c.at.Add(time.Second / second); i%second == 0 {
			most = max(most, c.store.Len())
		}
	}
	// Alive are those of the last second and of the grace for late callers.
	if alive := (1 + 5) * second; most > 2*alive {
		t.Errorf("%d subjects kept while %d were alive", most, alive)
	}
	c.at = c.at.Add(time.Hour)
	hot := of(q, -1)
	for range 8 * len(c.store.shards) * sweepEvery {
		c.take(t, hot, 0)
	}
	if n := c.store.Len(); n != 0 {
		t.Errorf("%d subjects are left an hour later", n)
	}
	for i := range c.store.shards {
		if sh := &c.store.shards[i]; len(sh.freeLists) != len(sh.lists) {
			t.Fatalf("shard %d leaks %d lists", i, len(sh.lists)-len(sh.freeLists))
		}
	}
}

// TestActiveSubjectsAreKept: what is spent survives any number of others.
func TestActiveSubjectsAreKept(t *testing.T) {
	c := newClocked()
	hour := quota(t, ratelimit.Policy{Name: "h", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "100h"})
	brief := quota(t, ratelimit.Policy{Name: "b", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"})
	for i := range 1000 {
		c.take(t, of(hour, i), 7)
	}
	for i := range 50_000 {
		c.take(t, of(brief, i), 1)
		c.at = c.at.Add(10 * time.Millisecond)
	}
	for i := range 1000 {
		if got := c.take(t, of(hour, i), 0).Decision.Statuses()[0].Remaining; got != 3 {
			t.Fatalf("subject %d has %d left", i, got)
		}
	}
}

func TestMaxSubjects(t *testing.T) {
	const most = 10 * 512
	c := newClocked(WithMaxSubjects(most))
	long := quota(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "366d"})
	brief := quota(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"})
	for i := range most / 10 {
		c.take(t, of(long, i), 5)
	}
	for i := range 5 * most {
		c.take(t, of(brief, 1_000_000+i), 1)
	}
	if n := c.store.Len(); n > most || n < most*9/10 {
		t.Errorf("%d subjects, at most %d", n, most)
	}
	// Those that would be idle first had to go: few of the long ones did.
	lost := 0
	for i := range most / 10 {
		if c.take(t, of(long, i), 0).Decision.Statuses()[0].Remaining == 10 {
			lost++
		}
	}
	if lost > most/10/20 {
		t.Errorf("%d of %d long-lived subjects were forgotten", lost, most/10)
	}
}

// TestKeyAndOwnerInOneShard makes the record of one side while the other's is
// idle and would be swept, evicted or moved.
func TestKeyAndOwnerInOneShard(t *testing.T) {
	for _, max := range []int{512, DefaultMaxSubjects} {
		c := newClocked(WithMaxSubjects(max))
		policies := []ratelimit.Policy{
			{Name: "mine", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s"},
			{Name: "ours", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1s", Per: ratelimit.PerOwner},
		}
		both, mine, ours := quota(t, policies...), quota(t, policies[:1]...), quota(t, policies[1:]...)
		for i := range 20_000 {
			q := both.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i)})
			s := q.Subjects()
			// One of them first, and long ago.
			if i%2 == 0 {
				c.take(t, mine.For(s), 1)
			} else {
				c.take(t, ours.For(s), 1)
			}
			c.at = c.at.Add(time.Minute)
			r := c.take(t, q, 4)
			for _, st := range c.take(t, q, 0).Decision.Statuses() {
				if st.Remaining != 6 {
					t.Fatalf("subject %d: %s has %d left", i, st.Policy.Name, st.Remaining)
				}
			}
			if err := r.Release(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}
