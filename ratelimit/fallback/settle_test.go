package fallback_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// remaining returns what is left in the server's counter of the first policy.
func (f *fleet) remaining(q *ratelimit.Quota) int64 {
	f.t.Helper()
	d, err := ratelimit.New(f.server.store, ratelimit.WithClock(func() time.Time { return time.Unix(0, f.server.now()) })).PeekAll(context.Background(), q)
	if err != nil {
		f.t.Fatal(err)
	}
	return d.Statuses()[0].Remaining
}

// alone returns what an instance reports to be left.
func (n *node) remaining(q *ratelimit.Quota) int64 {
	n.t.Helper()
	d, err := n.limiter.PeekAll(context.Background(), q)
	if err != nil {
		n.t.Fatal(err)
	}
	return d.Statuses()[0].Remaining
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// lose cuts all links and lets the instances notice.
func (f *fleet) lose() {
	f.t.Helper()
	f.cut(true)
	other := quotaOf(f.t, ratelimit.Policy{Name: "other", Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "366d"})
	for _, n := range f.nodes {
		for !n.Figures().Down {
			n.take(other)
		}
	}
}

// exact are the policies of which any unit can be given back.
func exact(limit int64) []ratelimit.Policy {
	var list []ratelimit.Policy
	for _, p := range slowly(limit) {
		if p.Algorithm != ratelimit.LeakyBucket {
			list = append(list, p)
		}
	}
	return list
}

// Reservations are settled once, whether the server is reached when they are taken,
// when they are settled, at both times or at neither.
func TestStore_settle(t *testing.T) {
	perPolicy(t, exact(100), func(t *testing.T, q *ratelimit.Quota) {
		ctx := t.Context()
		f := newFleet(t, 1)
		defer f.stop()
		n := f.nodes[0]

		fromServer, more, kept := n.take(q), n.take(q), n.take(q)
		f.lose()
		n.must(fromServer.Release(ctx))
		n.must(more.Commit(ctx, 11))
		if err := fromServer.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			t.Errorf("a second release: %v", err)
		}
		released, committed, late := n.take(q), n.take(q), n.take(q)
		n.must(released.Release(ctx))
		n.must(committed.Commit(ctx, 6))
		f.cut(false)
		f.awaitReturn()
		// kept 1, more 11, committed 6, late 1
		if left := f.remaining(q); left != 81 {
			t.Errorf("after the return: %d remaining, want 81", left)
		}
		n.must(late.Release(ctx)) // after its report: stays spent
		n.must(kept.Release(ctx))
		n.must(n.take(q).Release(ctx))
		f.awaitReturn()
		if left, seen := f.remaining(q), n.remaining(q); left != 82 || seen != 82 {
			t.Errorf("at the end: %d remaining, the instance reports %d; want 82", left, seen)
		}
		if r := n.take(q); r.Alone() || n.Figures().Unreported != 0 {
			t.Error("alone at the end")
		}
	})
}

// Units of a period that has ended are neither reported nor given back.
func TestStore_settle_other_period(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "1m"})
		f := newFleet(t, 1)
		defer f.stop()
		n := f.nodes[0]
		first := n.take(q)
		f.cut(true)
		second := n.take(q)
		n.take(q)
		time.Sleep(time.Minute)
		n.must(first.Release(t.Context()))
		n.must(second.Release(t.Context()))
		n.take(q)
		if left := n.remaining(q); left != 99 {
			t.Errorf("alone: %d remaining, want 99", left)
		}
		f.cut(false)
		f.awaitReturn()
		if left := f.remaining(q); left != 99 {
			t.Errorf("in the server: %d remaining, want 99", left)
		}
	})
}

// Slots are freed wherever they were taken. Alone, an instance takes its share of
// those that are free.
func TestStore_slots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 8, Hold: "1h"})
		f := newFleet(t, 2)
		defer f.stop()
		a, b := f.nodes[0], f.nodes[1]
		held := []*ratelimit.Reservation{a.take(q), a.take(q), a.take(q)}
		b.take(q)
		b.take(q)
		f.cut(true)
		// 3 are free; a knows of 5.
		var alone []*ratelimit.Reservation
		for range 10 {
			if r := a.take(q); r.Decision.Allowed {
				alone = append(alone, r)
			}
		}
		if n := len(alone); n < 1 || n > 4 {
			t.Errorf("a takes %d slots alone, want its share of 3 to 5", n)
		}
		taken := 0
		for range 10 {
			if b.take(q).Decision.Allowed {
				taken++
			}
		}
		if taken < 1 || len(alone)+taken > 5 {
			t.Errorf("%d and %d slots are taken alone of 3, want at most one more each", len(alone), taken)
		}
		a.must(held[0].Renew(ctx))
		a.must(held[0].Release(ctx))
		if !a.take(q).Decision.Allowed {
			t.Error("a freed slot can't be taken")
		}
		a.must(alone[0].Renew(ctx))
		a.must(alone[0].Release(ctx))
		f.cut(false)
		f.awaitReturn()
		if left := f.remaining(q); left != 4 { // 2 of a, 2 of b
			t.Errorf("%d slots are free in the server, want 4", left)
		}
	})
}

// Slots that an instance may hold don't grow while it reports.
func TestStore_slots_while_reporting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 40, Hold: "1h"})
		f := newFleet(t, 2)
		defer f.stop()
		f.spend(q, 20, f.nodes...)
		f.lose()
		alone := f.spend(q, 100, f.nodes[0])
		wantBetween(t, "alone, of 20 free slots", alone, 8, 11)
		f.cut(false)
		for range 35 {
			time.Sleep(100 * time.Millisecond)
			if f.nodes[0].take(q).Decision.Allowed {
				t.Fatal("another slot is taken")
			}
		}
	})
}

// What was given back without an answer isn't given back again, except slots: they
// are freed later.
func TestStore_release_without_answer(t *testing.T) {
	for _, c := range []struct {
		name    string
		applied bool
		spent   int64
	}{{"applied", true, 1}, {"not_applied", false, 2}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := quotaOf(t,
					ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 8, Period: "366d"},
					ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 8, Hold: "1h"})
				f := newFleet(t, 1)
				defer f.stop()
				n := f.nodes[0]
				n.take(q)
				r := n.take(q)
				n.link.set(!c.applied, false, c.applied)
				n.must(r.Release(t.Context()))
				n.link.set(false, false, false)
				time.Sleep(time.Second)
				if left := f.remaining(q); left != 8-c.spent {
					t.Errorf("%d units remaining, want %d", left, 8-c.spent)
				}
				d, err := ratelimit.New(f.server.store, ratelimit.WithClock(func() time.Time { return time.Unix(0, f.server.now()) })).PeekAll(t.Context(), q)
				n.must(err)
				if left := d.Statuses()[1].Remaining; left != 7 {
					t.Errorf("%d slots remaining, want 7", left)
				}
			})
		})
	}
}

// A debt that is settled alone together with a slot is charged once.
func TestStore_debt_and_slot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t,
			ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "366d"},
			ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 8, Hold: "1h"})
		f := newFleet(t, 1)
		defer f.stop()
		r := f.nodes[0].take(q)
		f.lose()
		f.nodes[0].must(r.Commit(t.Context(), 11))
		f.cut(false)
		f.awaitReturn()
		if left := f.remaining(q); left != 89 {
			t.Errorf("%d remaining, want 89", left)
		}
	})
}

// A release alone gives back what was charged for the others, too.
func TestStore_release_alone(t *testing.T) {
	perPolicy(t, slowly(40), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 2)
		defer f.stop()
		f.lose()
		n := f.nodes[0]
		var taken []*ratelimit.Reservation
		for range 10 {
			taken = append(taken, n.take(q))
		}
		if left := n.remaining(q); left != 20 {
			t.Errorf("%d remaining, want 20: each request is charged twice", left)
		}
		for i := range taken {
			n.must(taken[9-i].Release(t.Context())) // leaky_bucket gives back the last only
		}
		if left := n.remaining(q); left != 40 {
			t.Errorf("%d remaining after the releases, want 40", left)
		}
	})
}

// A release after the report doesn't change what was admitted since.
func TestStore_release_after_report(t *testing.T) {
	perPolicy(t, exact(100), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 2)
		defer f.stop()
		f.lose()
		n := f.nodes[0]
		first := n.take(q)
		f.cut(false)
		time.Sleep(2 * time.Second)
		second := n.take(q)
		if !second.Alone() {
			t.Fatal("returned already")
		}
		n.must(first.Release(t.Context()))
		f.awaitReturn()
		if left := f.remaining(q); left != 98 {
			t.Errorf("%d remaining, want 98", left)
		}
	})
}

// What was admitted after a single failure is reported when the server answers, and
// not before.
func TestStore_single_failure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, slowly(100)[0])
		f := newFleet(t, 1)
		defer f.stop()
		n := f.nodes[0]
		n.link.set(true, true, false)
		n.take(q)
		time.Sleep(10 * time.Second)
		n.link.set(false, false, false)
		time.Sleep(time.Second)
		want := fallback.Figures{Alone: 1, Admitted: 1, Reported: 1}
		if got := n.Figures(); got != want {
			t.Errorf("Figures = %+v, want %+v", got, want)
		}
	})
}

// Counters can't be reset alone, and a reset drops what isn't reported.
func TestStore_Reset(t *testing.T) {
	perPolicy(t, slowly(100), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 1)
		defer f.stop()
		n := f.nodes[0]
		f.cut(true)
		f.spend(q, 10, n)
		if err := n.limiter.Reset(t.Context(), q); !errors.Is(err, fallback.ErrUnavailable) {
			t.Errorf("Reset = %v, want ErrUnavailable", err)
		}
		f.cut(false)
		f.awaitReturn()
		if left := n.remaining(q); left != 90 {
			t.Errorf("%d remaining before the reset, want 90", left)
		}
		f.cut(true)
		n.take(q)
		f.cut(false)
		n.must(n.limiter.Reset(t.Context(), q))
		f.awaitReturn()
		if left, seen := f.remaining(q), n.remaining(q); left != 100 || seen != 100 {
			t.Errorf("%d remaining, the instance reports %d; want 100", left, seen)
		}
	})
}

// flaky is a store whose next Gives fail.
type flaky struct {
	ratelimit.Store
	failures atomic.Int64
}

func (s *flaky) Give(ctx context.Context, b *ratelimit.Batch) error {
	if s.failures.Add(-1) >= 0 {
		return errDown
	}
	return s.Store.Give(ctx, b)
}

// Stop reports what it can.
func TestStore_Stop_flaky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &flaky{Store: memory.New()}
		s := fallback.New(down{shared}, fallback.Options{})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		limiter, q := ratelimit.New(s), quotaOf(t, slowly(100)[0])
		for i := range 20 {
			if err := limiter.Reserve(t.Context(), new(ratelimit.Reservation), q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i)}), "", 1); err != nil {
				t.Fatal(err)
			}
		}
		shared.failures.Store(2)
		s.SetShared(shared)
		if err := s.Stop(t.Context()); err == nil {
			t.Error("Stop = nil, want that reports had no answer")
		}
		if got := s.Figures(); got.Reported != 18 || got.Dropped != 2 {
			t.Errorf("Figures = %+v, want 18 units reported and 2 dropped", got)
		}
	})
}

// Stop reports.
func TestStore_Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quotaOf(t, slowly(100)[0])
		f := newFleet(t, 1)
		n := f.nodes[0]
		f.cut(true)
		f.spend(q, 10, n)
		if err := n.Stop(t.Context()); err == nil {
			t.Error("Stop without the server reports no error")
		}
		if lost := n.Figures().Dropped; lost != 10 {
			t.Errorf("%d units dropped, want 10", lost)
		}

		f = newFleet(t, 1)
		n = f.nodes[0]
		f.cut(true)
		f.spend(q, 10, n)
		f.cut(false)
		n.must(n.Stop(t.Context()))
		if left := f.remaining(q); left != 90 {
			t.Errorf("%d remaining, want 90", left)
		}
	})
}

// A ledger that is full records no further counters, and nothing fails.
func TestStore_ledger_full(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		n := f.nodes[0]
		f.cut(true)
		q := quotaOf(t, slowly(100)[2])
		const counters = 200_000
		for i := range counters + 5 {
			if !n.take(q.For(ratelimit.Subjects{Key: strconv.Itoa(i), Owner: strconv.Itoa(i % 1000)})).Decision.Allowed {
				t.Fatal("refused")
			}
		}
		if got := n.Figures(); got.Unreported != counters || got.Dropped != 5 {
			t.Errorf("Figures = %+v, want %d counters unreported and 5 units dropped", got, counters)
		}
		f.cut(false)
		n.must(n.Stop(t.Context()))
		if got := n.Figures(); got.Unreported != 0 || got.Reported != counters {
			t.Errorf("Figures = %+v, want all reported", got)
		}
	})
}
