package allowance_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// TestService_down_asks_for_no_more checks that requests which fail while Postgres
// is unavailable don't make the next lease larger.
func TestService_down_asks_for_no_more(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(10_000))
		b.durable.setDown(true)
		for range 5000 {
			if _, err := b.take(q, 1); !errors.Is(err, ratelimit.ErrNoLease) {
				t.Fatal(err)
			}
		}
		b.durable.setDown(false)
		time.Sleep(2 * time.Second)
		b.want(q, 1, true)
		if used := b.used(); used > 200 {
			t.Errorf("%d units are leased, want at most 2 %% of the limit, 200", used)
		}
	})
}

func TestService_shadow_never_waits(t *testing.T) {
	onBench(t, func(b *bench) {
		shadow := daily(3)
		shadow.Mode = ratelimit.Shadow
		q := b.quota(shadow)
		instant := func(allowed bool) {
			t.Helper()
			at := time.Now()
			r := b.want(q, 1, true)
			if waited := time.Since(at); waited > 0 { // simulated: only a lease takes time
				t.Fatalf("a request waited %v", waited)
			}
			if got := r.Decision.Shadows()[0].Allowed; got != allowed {
				t.Errorf("the shadow policy allows: %v, want %v", got, allowed)
			}
		}
		for range 3 {
			instant(true)
		}
		instant(false)
		time.Sleep(2 * time.Second) // the exhaustion isn't remembered any more
		if used := b.used(); used != 3 {
			t.Errorf("the durable counter has %d units, want 3", used)
		}
		b.durable.setUsed(0) // another instance resets it
		instant(false)
		time.Sleep(time.Second)
		instant(true)
		b.want(b.quota(daily(3)), 1, true) // enforced now
	})
}

// TestService_evicted_debt checks that a debt whose counter leaves memory while it
// is charged isn't taken for a lease.
func TestService_evicted_debt(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100))
		r := b.want(q, 1, true)
		if err := r.Commit(context.Background(), 61); err != nil {
			t.Fatal(err)
		}
		time.Sleep(101 * time.Millisecond) // the charge is under way
		b.evict(q)
		time.Sleep(time.Second)
		b.want(q, 40, false)
	})
}

// TestService_larger_limit checks that requests under a smaller limit of the same
// counter don't make one under a larger limit wait twice.
func TestService_larger_limit(t *testing.T) {
	onBench(t, func(b *bench) {
		large, small := b.quota(daily(1000)), b.quota(daily(2))
		for range 2 {
			b.want(small, 1, true)
		}
		time.Sleep(time.Second) // nothing is prefetched any more
		if err := b.want(large, 10, true).Commit(context.Background(), 60); err != nil {
			t.Fatal(err)
		}
		time.Sleep(101 * time.Millisecond) // the debt is in a statement
		before := b.durable.count()
		done := make(chan struct{})
		go func() { defer close(done); b.want(large, 60, true) }() // waits for the next one
		time.Sleep(time.Microsecond)
		b.want(small, 1, false)
		<-done
		if n := b.durable.count() - before; n != 1 {
			t.Errorf("the request took %d statements, want 1", n)
		}
	})
}

// TestService_late_refund checks that a request that ends in the next period, and
// gives nothing back to one of its policies, doesn't disturb that policy's lease.
func TestService_late_refund(t *testing.T) {
	onBench(t, func(b *bench) {
		all := daily(1000)
		all.Name, all.Charge = "all", ratelimit.Requests
		q := b.quota(daily(1000), all)
		time.Sleep(24*time.Hour - 3*time.Second)
		b.want(q, 2, true)
		late := b.want(q, 2, true) // few of the leased units are left
		time.Sleep(4 * time.Second)
		b.want(q, 1, true)
		time.Sleep(time.Second)
		if err := late.Settle(context.Background(), ratelimit.Rejected); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		at := time.Now()
		b.want(q, 1, true)
		if waited := time.Since(at); waited > 0 { // simulated: only a lease takes time
			t.Errorf("a request waited %v", waited)
		}
		if wasted := b.service.Stats().Wasted; wasted > 40 { // 2 % of the first day, twice
			t.Errorf("%d units are wasted", wasted)
		}
	})
}

// TestService_debt_while_down checks that a debt that can't be charged while
// Postgres is unavailable is charged later, also if the counter is idle.
func TestService_debt_while_down(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(100))
		r := b.want(q, 1, true)
		b.durable.setDown(true)
		if err := r.Commit(context.Background(), 61); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		b.durable.setDown(false)
		time.Sleep(5 * time.Minute)
		if used := b.used(); used != 61 {
			t.Errorf("the durable counter has %d units, want 61", used)
		}
	})
}
