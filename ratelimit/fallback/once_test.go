package fallback_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
)

// records is a store that settles a batch with a record once. It can be down.
type records struct {
	ratelimit.Store
	mu      sync.Mutex
	down    bool
	settled map[string]bool
}

func (r *records) set(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *records) Take(ctx context.Context, b *ratelimit.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errDown
	}
	return r.Store.Take(ctx, b)
}

func (r *records) Give(ctx context.Context, b *ratelimit.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errDown
	}
	if b.Once != "" {
		if r.settled[b.Once] {
			return ratelimit.ErrSettled
		}
		r.settled[b.Once] = true
	}
	return r.Store.Give(ctx, b)
}

// Reservations with a record that are settled alone are delivered later: what they
// give back and owe arrives once, and their records are deleted.
func TestStore_once_later(t *testing.T) {
	perPolicy(t, exact(100), func(t *testing.T, q *ratelimit.Quota) {
		ctx := t.Context()
		shared := &records{Store: memory.New(), settled: map[string]bool{}}
		s := fallback.New(shared, fallback.Options{})
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		limiter, direct := ratelimit.New(s), ratelimit.New(shared)
		open := map[string]*ratelimit.Reservation{}
		for _, name := range []string{"released", "more", "less", "elsewhere"} {
			open[name] = new(ratelimit.Reservation)
			if err := limiter.Reserve(ctx, open[name], q, "", 5); err != nil {
				t.Fatal(err)
			}
			open[name].SetRecord(name)
		}
		encoded, err := open["elsewhere"].MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}

		shared.set(true)
		for range 3 {
			if _, err := limiter.PeekAll(ctx, q); err != nil {
				t.Fatal(err)
			}
		}
		for name, cost := range map[string]int64{"released": 0, "more": 12, "less": 2, "elsewhere": 0} {
			if err := open[name].Commit(ctx, cost); err != nil || !open[name].Alone() {
				t.Errorf("%s: Commit = %v, alone %v; want nil and true", name, err, open[name].Alone())
			}
		}
		shared.set(false)
		var resumed ratelimit.Reservation
		if err := direct.Resume(&resumed, "elsewhere", encoded); err != nil {
			t.Fatal(err)
		}
		if err := resumed.Commit(ctx, 1); err != nil { // another process is faster
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := s.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		if d, err := direct.PeekAll(ctx, q); err != nil || d.Statuses()[0].Remaining != 100-12-2-1 {
			t.Errorf("%d remaining, error %v; want 85: 12, 2 and 1 are spent", d.Statuses()[0].Remaining, err)
		}
		for name := range open {
			if !shared.settled[name] {
				t.Errorf("%s: the record is still there", name)
			}
		}
	})
}

// If all traffic moves to instances that were idle, when the server is lost, each of
// them admits its part by number: it knows nothing of what was spent.
func TestStore_moved_traffic(t *testing.T) {
	perPolicy(t, slowly(100), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 5)
		defer f.stop()
		f.spend(q, 50, f.nodes[0])
		f.lose()
		for i, n := range f.nodes[1:] {
			wantBetween(t, "an idle instance", f.spend(q, 1000, n), 1, 100/5+1)
			if again := f.spend(q, 1000, n); again > 0 {
				t.Errorf("instance %d admits %d more", i, again)
			}
		}
		f.cut(false)
		f.awaitReturn()
		if after := f.spend(q, 1000, f.nodes...); after > 0 {
			t.Errorf("%d admitted after the return: the reports were lost", after)
		}
	})
}

// A few requests before the server is lost, of which each instance has seen another
// part, don't make each of them believe that the traffic is its own.
func TestStore_short_history(t *testing.T) {
	perPolicy(t, slowly(300), func(t *testing.T, q *ratelimit.Quota) {
		f := newFleet(t, 5)
		defer f.stop()
		admitted := 0
		for _, n := range f.nodes {
			admitted += f.spend(q, 3, n)
		}
		f.lose()
		for _, n := range f.nodes {
			admitted += f.spend(q, 1000, n)
		}
		wantBetween(t, "in all, of 300", admitted, 250, 390)
	})
}
