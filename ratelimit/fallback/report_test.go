package fallback_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// gated is a shared store that can be down, and whose Give waits for a result while
// gate isn't nil.
type gated struct {
	*memory.Store
	down bool
	gate chan error
	gave atomic.Int64 // calls of Give
}

func (g *gated) Take(ctx context.Context, b *ratelimit.Batch) error {
	if g.down {
		return errDown
	}
	return g.Store.Take(ctx, b)
}

func (g *gated) Give(ctx context.Context, b *ratelimit.Batch) error {
	if g.down {
		return errDown
	}
	g.gave.Add(1)
	if g.gate != nil {
		select {
		case err := <-g.gate:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.Store.Give(ctx, b)
}

// indebted is a store after an outage, in which it has decided alone.
type indebted struct {
	*fallback.Store
	shared *gated
	quotas [2]*ratelimit.Quota // of two subjects whose counters are in one stripe
}

// newIndebted takes a unit of each quota from the shared store and one alone, and gives
// back those of the shared store alone if release is set. It must be called in a
// bubble.
func newIndebted(t *testing.T, release bool) *indebted {
	t.Helper()
	shared := &gated{Store: memory.New()}
	o := &indebted{Store: fallback.New(shared, fallback.Options{}), shared: shared}
	limiter := ratelimit.New(o, ratelimit.WithClock(time.Now))
	q := quotaOf(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1d"})
	var taken [2]ratelimit.Reservation
	for i, key := range []string{"first", "second"} {
		o.quotas[i] = q.For(ratelimit.Subjects{Key: key, Owner: "o"})
		if err := limiter.Reserve(t.Context(), &taken[i], o.quotas[i], "", 1); err != nil || taken[i].Alone() {
			t.Fatal(err, taken[i].Alone())
		}
	}
	shared.down = true
	for range 3 { // the outage begins
		if _, err := limiter.PeekAll(t.Context(), o.quotas[0]); err != nil {
			t.Fatal(err)
		}
	}
	for i, q := range o.quotas {
		if release {
			if err := taken[i].Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var r ratelimit.Reservation
		if err := limiter.Reserve(t.Context(), &r, q, "", 1); err != nil || !r.Alone() {
			t.Fatal(err, r.Alone())
		}
	}
	shared.down, shared.gate = false, make(chan error)
	return o
}

// spent returns the units that the shared store knows of.
func (o *indebted) spent(t *testing.T) (units int64) {
	t.Helper()
	for _, q := range o.quotas {
		d, err := ratelimit.New(o.shared.Store, ratelimit.WithClock(time.Now)).PeekAll(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		units += 10 - d.Statuses()[0].Remaining
	}
	return units
}

// A stripe is reported by one caller at a time. Another one, which may be about to
// return to the shared store, waits until all is charged.
func TestStore_reports_one_at_a_time(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newIndebted(t, false)
		reported := make(chan error, 2)
		go func() { reported <- o.ReportAll(t.Context()) }()
		synctest.Wait() // it waits in the shared store
		go func() { reported <- o.ReportAll(t.Context()) }()
		synctest.Wait()
		if len(reported) > 0 || o.shared.gave.Load() != 1 {
			t.Errorf("%d reports have ended and %d began, while the first is on its way", len(reported), o.shared.gave.Load())
		}
		close(o.shared.gate)
		for range 2 {
			if err := <-reported; err != nil {
				t.Error(err)
			}
		}
		if spent := o.spent(t); spent != 4 {
			t.Errorf("%d units spent; want 4", spent)
		}
	})
}

// A report that is canceled sends nothing more, and keeps it. The call that is on its
// way ends as usual, because its effect would be unknown.
func TestStore_report_canceled(t *testing.T) {
	for name, c := range map[string]struct {
		release       bool
		first, second int64 // units spent after the first call, and after all
	}{"charges": {false, 3, 4}, "gives": {true, 1, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newIndebted(t, c.release)
				ctx, cancel := context.WithCancel(t.Context())
				reported := make(chan error, 1)
				go func() { reported <- o.ReportAll(ctx) }()
				synctest.Wait()
				cancel()
				synctest.Wait()
				close(o.shared.gate)
				if err := <-reported; !errors.Is(err, context.Canceled) {
					t.Errorf("error %v; want that of the context", err)
				}
				figures := o.Figures()
				if spent := o.spent(t); spent != c.first || o.shared.gave.Load() != 1 || figures.Dropped+figures.LostGives != 0 {
					t.Errorf("%d units spent after %d calls, figures %+v; want %d after the first", spent, o.shared.gave.Load(), figures, c.first)
				}
				if err := o.ReportAll(t.Context()); err != nil {
					t.Error(err)
				}
				if spent := o.spent(t); spent != c.second || o.shared.gave.Load() != 2 {
					t.Errorf("%d units spent after %d calls; want %d after two", spent, o.shared.gave.Load(), c.second)
				}
			})
		})
	}
}

// Stop reports an error if the report that it waits for gets no answer.
func TestStore_Stop_while_reporting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newIndebted(t, false)
		if err := o.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for o.shared.gave.Load() == 0 { // until the reporter waits in the shared store
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		stopped := make(chan error, 1)
		go func() { stopped <- o.Stop(t.Context()) }()
		synctest.Wait()
		o.shared.gate <- errDown
		close(o.shared.gate)
		if err := <-stopped; err == nil {
			t.Errorf("no error, figures %+v", o.Figures())
		}
	})
}

// A clock that was set back has seen no time pass, in which others could have spent.
func TestStore_clock_set_back(t *testing.T) {
	perPolicy(t, []ratelimit.Policy{
		{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1000, Period: "1d"},
		{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "1d"},
		{Name: "p", Algorithm: ratelimit.SlidingLog, Limit: 1000, Period: "1d"},
	}, func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 2)
		defer f.stop()
		if err := f.nodes[0].take(q).Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.server.ahead -= 90 * time.Minute
		f.nodes[0].take(q)
		f.lose()
		wantBetween(t, "one of two instances, after one request", f.spend(q, 1000, f.nodes[0]), 400, 600)
	})
}
