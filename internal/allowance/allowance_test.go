package allowance_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/allowance"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// bench is a limiter over one counter whose durable side is counted.
type bench struct {
	t       *testing.T
	durable *counted
	store   *memory.Store
	service *allowance.Service
	limiter *ratelimit.Limiter
}

// counted is quick, counts requests by operation and can fail.
type counted struct {
	quick
	mu         sync.Mutex
	statements int
	ops        map[allowance.Op]int
	down       bool
}

func (c *counted) Apply(ctx context.Context, requests []allowance.Request) ([]allowance.Reply, error) {
	c.mu.Lock()
	c.statements++
	for _, r := range requests {
		c.ops[r.Op]++
	}
	down := c.down
	c.mu.Unlock()
	if down {
		return nil, errLost
	}
	return c.quick.Apply(ctx, requests)
}

func (c *counted) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statements
}

// onBench runs a test in a bubble with simulated time.
func onBench(t *testing.T, run func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		d := &counted{quick: quick{durable{rows: map[period]*allowance.Reply{}, names: map[allowance.Counter]string{}, ended: map[period]int64{}, rng: rand.New(rand.NewPCG(1, 1))}}, ops: map[allowance.Op]int{}}
		store := memory.New()
		b := &bench{t: t, durable: d, store: store, service: allowance.New(d, store, slog.New(slog.DiscardHandler))}
		if err := b.service.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		b.limiter = ratelimit.New(store, ratelimit.WithClock(time.Now), ratelimit.WithAllowances(b.service))
		run(b)
		if err := b.service.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func (b *bench) quota(policies ...ratelimit.Policy) *ratelimit.Quota {
	b.t.Helper()
	q, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

func (b *bench) take(q *ratelimit.Quota, cost int64) (*ratelimit.Reservation, error) {
	r := new(ratelimit.Reservation)
	err := b.limiter.Reserve(context.Background(), r, q, "", cost)
	return r, err
}

func (b *bench) want(q *ratelimit.Quota, cost int64, allowed bool) *ratelimit.Reservation {
	b.t.Helper()
	r, err := b.take(q, cost)
	if err != nil || r.Decision.Allowed != allowed {
		b.t.Fatalf("cost %d: allowed = %v, %v, want %v", cost, r.Decision.Allowed, err, allowed)
	}
	return r
}

// used returns the units that the durable counter has.
func (b *bench) used() int64 {
	b.durable.durable.mu.Lock()
	defer b.durable.durable.mu.Unlock()
	for _, row := range b.durable.rows {
		return row.Used
	}
	return 0
}

// setUsed sets the units that the durable counter has.
func (c *counted) setUsed(units int64) {
	c.durable.mu.Lock()
	defer c.durable.mu.Unlock()
	for _, row := range c.rows {
		row.Used = units
	}
}

// evict removes the counters of a quota from memory.
func (b *bench) evict(q *ratelimit.Quota) {
	b.t.Helper()
	if err := ratelimit.New(b.store, ratelimit.WithClock(time.Now)).Reset(context.Background(), q); err != nil {
		b.t.Fatal(err)
	}
}

func daily(limit int64) ratelimit.Policy {
	return ratelimit.Policy{Name: "daily", Algorithm: ratelimit.Calendar, Limit: limit, Period: ratelimit.Day}
}

func TestService_returns_idle_lease(t *testing.T) {
	onBench(t, func(b *bench) {
		b.want(b.quota(daily(10_000)), 7, true)
		if got := b.used(); got != 50 {
			t.Errorf("leased %d units, want 0.5 %% of the limit, 50", got)
		}
		time.Sleep(2 * time.Minute)
		if got := b.used(); got != 50 {
			t.Errorf("after less than two idle minutes, %d units are used, want 50", got)
		}
		time.Sleep(time.Minute)
		if got := b.used(); got != 7 {
			t.Errorf("after three idle minutes, %d units are used, want the 7 that were spent", got)
		}
		b.want(b.quota(daily(10_000)), 1, true)
	})
}

func TestService_remembers_exhaustion(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(3))
		for range 3 {
			b.want(q, 1, true)
		}
		time.Sleep(2 * time.Second)
		before := b.durable.count()
		for range 1000 {
			b.want(q, 1, false)
		}
		if n := b.durable.count() - before; n != 1 {
			t.Errorf("1,000 refusals at once took %d statements, want 1", n)
		}
	})
}

func TestService_shares_a_statement(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100_000))
		var callers sync.WaitGroup
		for range 400 {
			callers.Go(func() { b.want(q, 1, true) })
		}
		callers.Wait()
		if n := b.durable.count(); n > 3 {
			t.Errorf("400 requests at once took %d statements, want at most 3", n)
		}
	})
}

func TestService_prefetches(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100_000))
		b.want(q, 1, true)
		for range 10_000 {
			at := time.Now()
			b.want(q, 1, true)
			if waited := time.Since(at); waited > 0 { // simulated: only a lease takes time
				t.Fatalf("a request waited %v", waited)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

func TestService_open_lease_is_bounded(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100_000))
		spent := int64(0)
		for range 20_000 {
			b.want(q, 1, true)
			spent++
			if open := b.used() - spent; open > 2000 {
				t.Fatalf("%d units are leased and not spent, want at most 2 %%, 2,000", open)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
}

func TestService_debt(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100))
		r := b.want(q, 1, true)
		if err := r.Commit(context.Background(), 61); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b.want(q, 40, false)
		b.want(q, 39, true)
	})
}

// TestService_fair_places checks that an owner with more subjects than there is
// room for leaves room for others, and gets all of it back.
func TestService_fair_places(t *testing.T) {
	onBench(t, func(b *bench) {
		plan := b.quota(daily(1_000_000))
		take := func(owner, subject string) error {
			var r ratelimit.Reservation
			return b.limiter.Reserve(context.Background(), &r, plan.For(ratelimit.Subjects{Key: owner + subject, Owner: owner}), "", 1)
		}
		flood := func() int64 { // quicker than a counter becomes idle
			var took atomic.Int64
			var callers sync.WaitGroup
			for i := range allowance.MaxCounters + 10_000 {
				callers.Go(func() {
					if err := take("flooder", strconv.Itoa(i)); err == nil {
						took.Add(1)
					} else if !errors.Is(err, ratelimit.ErrNoLease) {
						t.Error(err)
					}
				})
			}
			callers.Wait()
			return took.Load()
		}
		first := flood()
		for i := range 1000 {
			if err := take("victim", strconv.Itoa(i)); err != nil {
				t.Fatalf("subject %d of another owner: %v", i, err)
			}
		}
		time.Sleep(5 * time.Minute) // all are idle
		if again := flood(); first < 100_000 || again != first {
			t.Errorf("%d subjects fit at first and %d after all were idle, want the same and more than 100,000", first, again)
		}
	})
}

func TestService_changed_limit(t *testing.T) {
	onBench(t, func(b *bench) {
		b.want(b.quota(daily(1000)), 1, true) // leases 5
		b.want(b.quota(daily(2)), 1, true)
		b.want(b.quota(daily(2)), 1, false) // at once, though 3 leased units are left
		for range 98 {
			b.want(b.quota(daily(100)), 1, true)
		}
		b.want(b.quota(daily(100)), 1, false)
	})
}

func TestService_down(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(1000))
		b.want(q, 1, true)
		b.durable.setDown(true)
		for range 4 {
			b.want(q, 1, true)
		}
		if _, err := b.take(q, 1); !errors.Is(err, ratelimit.ErrNoLease) {
			t.Errorf("without a lease: %v, want ErrNoLease", err)
		}
		before := b.durable.count()
		for range 100 {
			_, _ = b.take(q, 1)
		}
		if n := b.durable.count() - before; n > 1 {
			t.Errorf("100 requests at once made %d attempts, want at most 1", n)
		}
		b.want(q, 0, true)
		shadow := daily(1000)
		shadow.Name, shadow.Mode = "shadow", ratelimit.Shadow
		b.want(b.quota(shadow), 1, true)
		burst := ratelimit.Policy{Name: "burst", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h"}
		b.want(b.quota(burst), 1, true)
		b.want(b.quota(burst, daily(1000)), 1, false) // refused by burst: no lease is needed
		b.durable.setDown(false)
		time.Sleep(2 * time.Second)
		b.want(q, 1, true)
	})
}
