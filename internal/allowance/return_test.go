package allowance_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"ratelimiter/internal/allowance"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// another returns a limiter of another instance on the same durable counters.
func (b *bench) another() *bench {
	store := memory.New()
	other := *b
	other.store, other.service = store, allowance.New(b.durable, store, slog.New(slog.DiscardHandler))
	other.limiter = ratelimit.New(store, ratelimit.WithClock(time.Now), ratelimit.WithAllowances(other.service))
	return &other
}

// resume makes a reservation of another instance one of this instance.
func (b *bench) resume(r *ratelimit.Reservation) *ratelimit.Reservation {
	b.t.Helper()
	data, err := r.MarshalBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	resumed := new(ratelimit.Reservation)
	if err := b.limiter.Resume(resumed, "", data); err != nil {
		b.t.Fatal(err)
	}
	return resumed
}

// release settles a reservation with nothing spent.
func (b *bench) release(r *ratelimit.Reservation) {
	b.t.Helper()
	if err := r.Release(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// peeked is a Store that keeps the state of the first step that it reports.
type peeked struct {
	ratelimit.Store
	state ratelimit.State
}

func (p *peeked) Take(ctx context.Context, b *ratelimit.Batch) error {
	b.Leases = true
	err := p.Store.Take(ctx, b)
	p.state, b.Leases = b.Steps[0].State, false
	return err
}

// leased returns the units that the instance can still spend without a lease.
func (b *bench) leased(q *ratelimit.Quota) int64 {
	b.t.Helper()
	store := &peeked{Store: b.store}
	if _, err := ratelimit.New(store, ratelimit.WithClock(time.Now)).Peek(context.Background(), q, ""); err != nil {
		b.t.Fatal(err)
	}
	return store.state.X
}

// TestService_Return checks where units go that another instance has spent.
func TestService_Return(t *testing.T) {
	for _, c := range []struct {
		name string
		// between happens after the other instance has taken 7 units of 1000, and
		// before this one gives them back.
		between func(t *testing.T, here, there *bench, q *ratelimit.Quota)
		holds   bool // this instance has the same period and epoch
	}{
		{"same_period", func(_ *testing.T, here, _ *bench, q *ratelimit.Quota) { here.want(q, 1, true) }, true},
		{"no_counter_here", func(*testing.T, *bench, *bench, *ratelimit.Quota) {}, false},
		{"next_period", func(_ *testing.T, here, _ *bench, q *ratelimit.Quota) {
			time.Sleep(24 * time.Hour)
			here.want(q, 1, true)
		}, false},
		{"reset_there", func(t *testing.T, here, there *bench, q *ratelimit.Quota) {
			if err := there.limiter.Reset(context.Background(), q); err != nil {
				t.Fatal(err)
			}
			here.want(q, 1, true) // in the new epoch
		}, false},
		{"reset_here", func(t *testing.T, here, _ *bench, q *ratelimit.Quota) {
			here.want(q, 1, true)
			if err := here.limiter.Reset(context.Background(), q); err != nil {
				t.Fatal(err)
			}
			here.want(q, 1, true)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBench(t, func(there *bench) {
				here := there.another()
				q := there.quota(daily(1000))
				r := there.want(q, 7, true)
				data := here.resume(r)
				c.between(t, here, there, q)
				before := here.leased(q)
				here.release(data)
				want := before
				if c.holds {
					want += 7
				}
				if got := here.leased(q); got != want {
					t.Errorf("%d units are leased here, want %d of %d", got, want, before)
				}
			})
		})
	}
}

// TestService_Return_generations checks that a counter of another instance isn't
// taken for the one that was charged, although their generations are equal: it
// is in the next epoch.
func TestService_Return_generations(t *testing.T) {
	onBench(t, func(there *bench) {
		here := there.another()
		q := there.quota(daily(10))
		r := here.resume(there.want(q, 7, true))
		if err := there.limiter.Reset(context.Background(), q); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			here.want(q, 1, true)
		}
		here.release(r)
		here.want(q, 1, false)
	})
}

// TestService_Epoch checks that the epoch is unknown once the counter isn't the
// one that was charged.
func TestService_Epoch(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(1000))
		r := b.want(q, 7, true)
		if err := b.limiter.Reset(context.Background(), q); err != nil {
			t.Fatal(err)
		}
		b.want(q, 1, true)
		late := b.resume(r) // encoded after the reset
		before := b.leased(q)
		b.release(late)
		if got := b.leased(q); got != before {
			t.Errorf("%d units are leased, want %d: the reservation was of an earlier epoch", got, before)
		}
	})
}

// TestService_Return_debt checks that a commit above the cost is charged here.
func TestService_Return_debt(t *testing.T) {
	onBench(t, func(there *bench) {
		here := there.another()
		q := there.quota(daily(100))
		r := here.resume(there.want(q, 1, true))
		if err := r.Commit(context.Background(), 61); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if used := there.used(); used < 61 {
			t.Errorf("%d units are used, want at least 61", used)
		}
		there.want(q, 40, false)
	})
}
