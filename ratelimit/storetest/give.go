package storetest

import (
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var giveCases = slices.Concat(
	perAlgorithm("release", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.mustAllow(q, 4)
		r := h.mustAllow(q, 5)
		h.noError(r.Release(ctx))
		want := remainingAfter(p, 4)
		h.wantDecision(r, want)
		h.wantRemaining(q, want)
		for _, again := range []error{r.Release(ctx), r.Commit(ctx, 0), r.Settle(ctx, ratelimit.Failed)} {
			h.wantError(again, ratelimit.ErrSettled)
		}
		h.wantRemaining(q, want)
	}),
	perAlgorithm("commit", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 7)
		for _, actual := range []int64{-1, ratelimit.MaxCost + 1} {
			h.wantError(r.Commit(ctx, actual), ratelimit.ErrCost)
		}
		h.noError(r.Commit(ctx, 3))
		want := settledRemaining(p, 3)
		h.wantRemaining(q, want)
		h.wantError(r.Release(ctx), ratelimit.ErrSettled)
		h.wantRemaining(q, want)
	}),
	perAlgorithm("late_release", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 5)
		h.advance(24 * time.Hour)
		h.mustAllow(q, 3)
		h.noError(r.Release(ctx))
		h.wantRemaining(q, remainingAfter(p, 3))
	}),
	perAlgorithm("release_after_reset", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 5)
		h.noError(h.limiter.Reset(ctx, q))
		h.wantRemaining(q, 10)
		h.mustAllow(q, 3)
		h.noError(r.Release(ctx))
		h.wantRemaining(q, remainingAfter(p, 3))
	}),
	perAlgorithm("release_after_refusal", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.exhaust(q)
		r := h.mustRefuse(q, 1, p.Name)
		h.wantError(r.Release(ctx), ratelimit.ErrSettled)
		h.wantRemaining(q, 0)
	}),
	perAlgorithm("release_in_any_order", func(h *harness, p ratelimit.Policy) {
		if p.Algorithm == ratelimit.LeakyBucket {
			return // gives back only the last request in the queue
		}
		q := h.quota(p)
		a, b, c := h.mustAllow(q, 1), h.mustAllow(q, 1), h.mustAllow(q, 1)
		h.noError(b.Release(ctx))
		h.noError(a.Release(ctx))
		h.wantRemaining(q, 9)
		h.noError(c.Release(ctx))
		h.wantRemaining(q, 10)
	}),
	[]testCase{
		{"settle", settle},
		{"token_bucket_partly_refilled", tokenBucketPartlyRefilled},
		{"token_bucket_earlier_refund", tokenBucketEarlierRefund},
		{"leaky_bucket_middle_of_queue", leakyBucketMiddleOfQueue},
		{"sliding_window_previous_window", slidingWindowPreviousWindow},
	},
)

// remainingAfter returns Remaining of a counter with capacity 10 after one
// request of the given cost.
func remainingAfter(p ratelimit.Policy, cost int64) int64 {
	if p.Algorithm == ratelimit.Concurrency {
		return 9
	}
	return 10 - cost
}

func settle(h *harness) {
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
			ratelimit.Policy{Name: "shadow", Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "10s", Mode: ratelimit.Shadow},
		)
		r := h.mustAllow(q, 4)
		h.noError(r.Settle(ctx, c.outcome))
		h.wantRemaining(q, c.requests, c.successes, c.successes, 10)
		h.wantDecision(r, c.requests, c.successes, c.successes, 10)
		if got := r.Decision.Shadows()[0].Remaining; got != c.requests {
			h.Fatalf("outcome %d: shadow: Remaining = %d, want %d", c.outcome, got, c.requests)
		}
		h.wantError(r.Settle(ctx, c.outcome), ratelimit.ErrSettled)
		h.noError(h.limiter.Reset(ctx, q))
	}
}

func tokenBucketPartlyRefilled(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "b", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s", Burst: 5})
	r := h.mustAllow(q, 3)
	h.advance(2 * time.Second) // refills two of the three units
	h.mustAllow(q, 4)
	h.wantRemaining(q, 0)
	h.noError(r.Release(ctx))
	h.wantRemaining(q, 1)
}

// tokenBucketEarlierRefund gives back units that others, given back before, have let
// drain earlier.
func tokenBucketEarlierRefund(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "b", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s", Burst: 10})
	a, b := h.mustAllow(q, 5), h.mustAllow(q, 5)
	h.noError(a.Release(ctx))
	h.advance(4 * time.Second) // drains four units of b
	h.mustAllow(q, 5)
	h.noError(b.Release(ctx))
	h.wantRemaining(q, 5)
}

func leakyBucketMiddleOfQueue(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "l", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "10s", MaxWait: "9s"})
	a, b, c := h.mustAllow(q, 1), h.mustAllow(q, 1), h.mustAllow(q, 1)
	if a.Decision.Wait != 0 || b.Decision.Wait != time.Second || c.Decision.Wait != 2*time.Second {
		h.Fatalf("Wait = %v, %v, %v", a.Decision.Wait, b.Decision.Wait, c.Decision.Wait)
	}
	h.noError(b.Release(ctx)) // doesn't move c forward
	if d := h.mustAllow(q, 1).Decision; d.Wait != 3*time.Second {
		h.Fatalf("Wait after a release in the middle = %v, want 3s", d.Wait)
	}
	last := h.mustAllow(q, 1)
	h.noError(last.Release(ctx))
	if d := h.mustAllow(q, 1).Decision; d.Wait != 4*time.Second {
		h.Fatalf("Wait after a release at the end = %v, want 4s", d.Wait)
	}
}

func slidingWindowPreviousWindow(h *harness) {
	q := h.quota(ratelimit.Policy{Name: "s", Algorithm: ratelimit.SlidingWindow, Limit: 100, Period: "10s"})
	h.mustAllow(q, 1) // the window begins
	h.advance(4 * time.Second)
	r := h.mustAllow(q, 79)
	h.advance(9 * time.Second) // the previous window has weight 7/10
	h.wantRemaining(q, 44)
	h.noError(r.Commit(ctx, 19))
	h.wantRemaining(q, 86)
}
