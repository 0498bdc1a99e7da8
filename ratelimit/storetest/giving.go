package storetest

import (
	"errors"
	"time"

	"ratelimiter/ratelimit"
)

var givingCases = all(
	eachAlgorithm("release gives everything back, once", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.pass(q, 4)
		r := h.pass(q, 5)
		h.ok(r.Release(ctx))
		want := left(p, 4)
		if got := r.Decision.Statuses()[0].Remaining; got != want {
			h.Fatalf("the reservation shows %d left, not %d", got, want)
		}
		h.remaining(q, want)
		for _, again := range []error{r.Release(ctx), r.Commit(ctx, 0), r.Settle(ctx, ratelimit.Failed)} {
			if !errors.Is(again, ratelimit.ErrSettled) {
				h.Fatalf("a second ending: %v", again)
			}
		}
		h.remaining(q, want)
	}),
	eachAlgorithm("commit gives the rest back", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.pass(q, 7)
		if err := r.Commit(ctx, 8); !errors.Is(err, ratelimit.ErrCost) {
			h.Fatalf("more than was reserved: %v", err)
		}
		if err := r.Commit(ctx, -1); !errors.Is(err, ratelimit.ErrCost) {
			h.Fatalf("a negative cost: %v", err)
		}
		h.ok(r.Commit(ctx, 3))
		want := left(p, 3)
		if p.Algorithm == ratelimit.Concurrency {
			want = 10 // its slot is free
		}
		h.remaining(q, want)
		if err := r.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatalf("a release after the commit: %v", err)
		}
		h.remaining(q, want)
	}),
	eachAlgorithm("a refund goes to what was charged, or nowhere", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.pass(q, 5)
		h.advance(24 * time.Hour)
		h.pass(q, 3)
		h.ok(r.Release(ctx))
		h.remaining(q, left(p, 3))
	}),
	eachAlgorithm("nothing comes back after a reset", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.pass(q, 5)
		h.ok(h.limiter.Reset(ctx, q))
		h.remaining(q, 10)
		h.pass(q, 3)
		h.ok(r.Release(ctx))
		h.remaining(q, left(p, 3))
	}),
	eachAlgorithm("a refused reservation has nothing to give", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 10 {
			h.pass(q, 1)
		}
		r := h.refuse(q, 1, p.Name)
		if err := r.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatal(err)
		}
		h.remaining(q, 0)
	}),
	eachAlgorithm("parallel refunds in any order", func(h *harness, p ratelimit.Policy) {
		if p.Algorithm == ratelimit.LeakyBucket {
			return // gives back the end of its queue only
		}
		q := h.quota(p)
		a, b, c := h.pass(q, 1), h.pass(q, 1), h.pass(q, 1)
		h.ok(b.Release(ctx))
		h.ok(a.Release(ctx))
		h.remaining(q, 9)
		h.ok(c.Release(ctx))
		h.remaining(q, 10)
	}),
	[]testCase{
		{"settling follows each policy's charge", settling},
		{"a bucket's refund does not return what has refilled", bucketRefund},
		{"a leaky bucket gives back its end only", leakyRefund},
		{"a sliding window's refund reaches the window before", slidingRefund},
	},
)

// left is what a fresh counter of ten has after a request of this cost.
func left(p ratelimit.Policy, cost int64) int64 {
	if p.Algorithm == ratelimit.Concurrency {
		return 9
	}
	return 10 - cost
}

func settling(h *harness) {
	for _, c := range []struct {
		outcome             ratelimit.Outcome
		requests, successes int64
	}{
		{ratelimit.Succeeded, 6, 6},
		{ratelimit.Rejected, 6, 10},
		{ratelimit.Failed, 10, 10},
	} {
		q := h.quota(
			ratelimit.Policy{Name: "requests", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"},
			ratelimit.Policy{Name: "successes", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "10s", Charge: ratelimit.Successes},
			ratelimit.Policy{Name: "month", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month},
			ratelimit.Policy{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 10},
			ratelimit.Policy{Name: "ghost", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "10s", Mode: ratelimit.Shadow},
		)
		r := h.pass(q, 4)
		h.ok(r.Settle(ctx, c.outcome))
		h.remaining(q, c.requests, c.successes, c.successes, 10)
		d := &r.Decision
		for i, want := range []int64{c.requests, c.successes, c.successes, 10} {
			if got := d.Statuses()[i].Remaining; got != want {
				h.Fatalf("outcome %d: the reservation shows %d left of %s, not %d", c.outcome, got, d.Statuses()[i].Policy.Name, want)
			}
		}
		if got := d.Shadows()[0].Remaining; got != c.requests {
			h.Fatalf("outcome %d: the shadow has %d left", c.outcome, got)
		}
		if err := r.Settle(ctx, c.outcome); !errors.Is(err, ratelimit.ErrSettled) {
			h.Fatal(err)
		}
		h.ok(h.limiter.Reset(ctx, q))
	}
}

func bucketRefund(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "b", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s", Burst: 5})
	r := h.pass(q, 3)
	h.advance(2 * time.Second) // two of the three have refilled
	h.pass(q, 4)
	h.remaining(q, 0)
	h.ok(r.Release(ctx))
	h.remaining(q, 1)
}

func leakyRefund(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "l", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "10s", MaxWait: "9s"})
	a, b, c := h.pass(q, 1), h.pass(q, 1), h.pass(q, 1)
	if a.Decision.Wait != 0 || b.Decision.Wait != time.Second || c.Decision.Wait != 2*time.Second {
		h.Fatalf("waits %v, %v, %v", a.Decision.Wait, b.Decision.Wait, c.Decision.Wait)
	}
	h.ok(b.Release(ctx)) // c starts after it all the same
	if d := h.pass(q, 1).Decision; d.Wait != 3*time.Second {
		h.Fatalf("the next one waits %v", d.Wait)
	}
	last := h.pass(q, 1)
	h.ok(last.Release(ctx))
	if d := h.pass(q, 1).Decision; d.Wait != 4*time.Second {
		h.Fatalf("after the last was released, the next one waits %v", d.Wait)
	}
}

func slidingRefund(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "s", Algorithm: ratelimit.SlidingWindow, Limit: 10, Period: "10s"})
	r := h.pass(q, 8)
	h.advance(15 * time.Second) // half of it still counts
	h.remaining(q, 6)
	h.ok(r.Commit(ctx, 2))
	h.remaining(q, 9)
}
