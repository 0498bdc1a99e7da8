package storetest

import (
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

// debtCases commit reservations above what was reserved.
var debtCases = slices.Concat(
	perAlgorithm("commit_above_reserved", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 3)
		h.noError(r.Commit(ctx, 8))
		want := settledRemaining(p, 8)
		h.wantDecision(r, want)
		h.wantRemaining(q, want)
	}),
	perAlgorithm("debt", commitDebt),
	perAlgorithm("debt_of_idle_counter", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 3)
		h.advance(25 * time.Hour)
		h.noError(r.Commit(ctx, 7))
		h.wantRemaining(q, settledRemaining(p, 4))
	}),
	perAlgorithm("debt_after_reset", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		r := h.mustAllow(q, 3)
		h.noError(h.limiter.Reset(ctx, q))
		h.noError(r.Commit(ctx, 5))
		h.wantRemaining(q, settledRemaining(p, 2))
	}),
	perAlgorithm("debts_of_parallel_reservations", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		var open []*ratelimit.Reservation
		for range 10 {
			open = append(open, h.mustAllow(q, 1))
		}
		for _, r := range open {
			h.noError(r.Commit(ctx, ratelimit.MaxCost))
			h.advance(time.Millisecond)
		}
		h.wantRemaining(q, settledRemaining(p, 10))
		if bucket(p) { // ten million units at one a second
			h.advance(9_999_000 * time.Second)
			h.wantRemaining(q, 0)
		}
		h.advance(2000 * time.Second)
		h.advance(25 * time.Hour)
		h.wantRemaining(q, 10)
	}),
	perAlgorithm("late_callers_with_debt", func(h *harness, p ratelimit.Policy) {
		if p.Algorithm == ratelimit.Concurrency {
			return
		}
		q := h.quota(p)
		h.noError(h.mustAllow(q, 1).Commit(ctx, 100))
		h.advance(-time.Second)
		h.mustRefuse(q, 1, p.Name)
		h.advance(-time.Hour) // the clock is set back
		h.mustRefuse(q, 1, p.Name)
		h.wantRemaining(q, 0)
	}),
	[]testCase{
		{"slot_and_debt_of_one", func(h *harness) {
			q := h.quota(parallelTwo, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"})
			h.noError(h.mustAllow(q, 1).Commit(ctx, 2))
			h.wantRemaining(q, 2, 8)
		}},
		{"shadow_policies", debtOfShadowPolicies},
		{"key_and_owner", func(h *harness) {
			perOwner := ratelimit.Policy{Name: "o", Algorithm: ratelimit.TokenBucket, Limit: 20, Period: "20s", Per: ratelimit.PerOwner}
			q := h.quota(ratelimit.Policy{Name: "k", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day}, perOwner)
			r := h.mustAllow(q, 1)
			h.advance(48 * time.Hour) // both counters are idle
			h.noError(r.Commit(ctx, 7))
			h.wantRemaining(q, 4, 14)
		}},
		{"debt_keeps_a_lowered_limit_bounded", debtAndLoweredLimit},
		{"largest_numbers", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.Calendar, Limit: ratelimit.MaxLimit, Period: ratelimit.Day}
			q := h.quota(p)
			h.noError(h.mustAllow(q, ratelimit.MaxCost).Commit(ctx, ratelimit.MaxCost))
			h.noError(h.mustAllow(q, 1).Commit(ctx, ratelimit.MaxCost))
			h.wantRemaining(q, ratelimit.MaxLimit-2*ratelimit.MaxCost)
		}},
	},
)

func bucket(p ratelimit.Policy) bool {
	return p.Algorithm == ratelimit.TokenBucket || p.Algorithm == ratelimit.LeakyBucket
}

// settledRemaining returns Remaining of a counter with capacity 10 after the end
// of a reservation that has left units charged. A slot is free then.
func settledRemaining(p ratelimit.Policy, units int64) int64 {
	if p.Algorithm == ratelimit.Concurrency {
		return 10
	}
	return 10 - units
}

// commitDebt commits more than the capacity. Nothing passes until the debt is
// repaid.
func commitDebt(h *harness, p ratelimit.Policy) {
	q := h.quota(p)
	r := h.mustAllow(q, 4)
	h.advance(time.Second)
	h.noError(r.Commit(ctx, 24))
	if p.Algorithm == ratelimit.Concurrency {
		h.wantRemaining(q, 10)
		return
	}
	h.wantDecision(r, 0)
	h.wantRemaining(q, 0)
	after, ok := h.mustRefuse(q, 1, p.Name).Decision.RetryAfter()
	want := map[ratelimit.Algorithm]time.Duration{
		ratelimit.TokenBucket: 14 * time.Second, ratelimit.LeakyBucket: 14 * time.Second, // the level is 23
		ratelimit.FixedWindow: 9 * time.Second, ratelimit.SlidingWindow: 10 * time.Second, ratelimit.SlidingLog: 10 * time.Second,
		ratelimit.Calendar: 24*time.Hour - time.Second,
	}[p.Algorithm]
	if !ok || after < want-time.Millisecond || after > want {
		h.Fatalf("RetryAfter = %v, %v, want %v", after, ok, want)
	}
	h.advance(after - 1)
	h.mustRefuse(q, 1, p.Name)
	h.advance(1)
	if bucket(p) {
		h.wantRemaining(q, 1)
	} else {
		h.wantRemaining(q, 10)
	}
	h.mustAllow(q, 1)
}

func debtOfShadowPolicies(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "enforced", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "10s"},
		ratelimit.Policy{Name: "charged", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s", Mode: ratelimit.Shadow},
		ratelimit.Policy{Name: "refusing", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s", Mode: ratelimit.Shadow},
	)
	r := h.mustAllow(q, 3)
	h.noError(r.Commit(ctx, 5))
	h.wantRemaining(q, 95)
	d := h.mustAllow(q, 0).Decision
	if d.Shadows()[0].Remaining != 5 || d.Shadows()[1].Remaining != 2 {
		h.Fatalf("shadow policies after a debt: %+v", d.Shadows())
	}
}

// debtAndLoweredLimit lowers the limit of a bucket in debt. Only the debt may
// outlast the bound of lowered_limit_blocks_at_most_a_period.
func debtAndLoweredLimit(h *harness) {
	p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1_000_000, Period: "1m"}
	h.noError(h.mustAllow(h.quota(p), 1_000_000).Commit(ctx, 1_000_000))
	h.advance(time.Millisecond)
	h.noError(h.mustAllow(h.quota(p), 1).Commit(ctx, 101))
	p.Limit = 10
	q := h.quota(p)
	r := h.mustRefuse(q, 1, "p")
	after, ok := r.Decision.RetryAfter()
	if !ok || after < 9*time.Minute || after > 12*time.Minute {
		h.Fatalf("RetryAfter = %v, %v, want about ten minutes for a debt of about 90", after, ok)
	}
	h.advance(after)
	h.mustAllow(q, 1)
}
