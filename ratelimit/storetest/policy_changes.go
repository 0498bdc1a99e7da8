package storetest

import (
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var policyChangeCases = slices.Concat(
	perAlgorithm("limit_keeps_spent_units", func(h *harness, p ratelimit.Policy) {
		with := func(limit int64) *ratelimit.Quota {
			p.Limit = limit
			return h.quota(p)
		}
		q := with(10)
		for range 8 {
			h.mustAllow(q, 1)
		}
		h.wantRemaining(with(20), 12)
		h.wantRemaining(with(8), 0)
		h.mustRefuse(with(8), 1, p.Name)
		h.wantRemaining(with(5), 0)
		h.mustRefuse(with(5), 1, p.Name)
		h.wantRemaining(with(10), 2)
		raised := with(12)
		for range 4 {
			h.mustAllow(raised, 1)
		}
		h.mustRefuse(raised, 1, p.Name)
	}),
	perAlgorithm("algorithm_has_separate_counter", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.mustAllow(q, 6)
		for _, other := range everyAlgorithm() {
			if other.Algorithm == p.Algorithm {
				continue
			}
			other.Name = p.Name
			h.wantRemaining(h.quota(other), 10)
		}
		// Peeks at the other counter don't affect the first one.
		h.wantRemaining(q, remainingAfter(p, 6))
		other := ratelimit.Policy{Name: p.Name, Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"}
		h.mustAllow(h.quota(other), 4)
		h.wantRemaining(h.quota(other), 6)
		// Takes from it don't either: switching back and forth must not reset a
		// counter.
		h.wantRemaining(q, remainingAfter(p, 6))
	}),
	[]testCase{
		{"period_has_separate_counter", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"}
			h.mustAllow(h.quota(p), 6)
			p.Period = "20s"
			h.wantRemaining(h.quota(p), 10)
		}},
		{"burst_keeps_spent_units", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "10s", Burst: 20}
			h.mustAllow(h.quota(p), 15)
			p.Burst = 40
			h.wantRemaining(h.quota(p), 25)
			p.Burst = 10
			h.wantRemaining(h.quota(p), 0)
			h.advance(6 * time.Second)
			h.wantRemaining(h.quota(p), 1)
		}},
		{"calendar_shape_has_separate_counter", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month}
			h.mustAllow(h.quota(p), 6)
			p.AnchorDay = 3
			h.wantRemaining(h.quota(p), 10)
			p.AnchorDay, p.TimeZone = 0, "Asia/Tokyo"
			h.wantRemaining(h.quota(p), 10)
		}},
		{"time_zone_aliases_share_a_counter", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Day}
			h.mustAllow(h.quota(p), 6)
			for _, utc := range []string{"UTC", "Etc/UTC", "Zulu"} {
				p.TimeZone = utc
				h.wantRemaining(h.quota(p), 4)
			}
			p.TimeZone = "US/Eastern"
			h.mustAllow(h.quota(p), 3)
			p.TimeZone = "America/New_York"
			h.wantRemaining(h.quota(p), 7)
		}},
		{"added_and_reordered_policies", func(h *harness) {
			policies := everyAlgorithm()
			for n := 1; n <= len(policies); n++ {
				h.mustAllow(h.quota(policies[:n]...), 1)
			}
			h.wantRemaining(h.quota(policies...), 3, 4, 5, 6, 7, 8, 9)
			// The order of the policies doesn't matter.
			policies[0], policies[6] = policies[6], policies[0]
			h.wantRemaining(h.quota(policies...), 9, 4, 5, 6, 7, 8, 3)
		}},
		{"lowered_limit_blocks_at_most_a_period", loweredLimit},
		{"sliding_window_becomes_exact", slidingWindowBecomesExact},
		{"sliding_window_becomes_an_estimate", slidingWindowBecomesEstimate},
		{"sliding_window_of_two_plans", slidingWindowOfTwoPlans},
	},
)

// loweredLimit lowers an exhausted limit from a million to ten. A bucket that
// drained all spent units at the new rate would be blocked for months. Its level
// is capped, so that it admits again after at most two periods, like a window.
func loweredLimit(h *harness) {
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		p := ratelimit.Policy{Name: string(a), Algorithm: a, Limit: 1_000_000, Period: "1m"}
		if a == ratelimit.LeakyBucket {
			p.MaxWait = "1m"
		}
		h.mustAllow(h.quota(p), 1_000_000)
		p.Limit = 10
		q := h.quota(p)
		r := h.mustRefuse(q, 1, p.Name)
		after, ok := r.Decision.RetryAfter()
		if !ok || after > 2*time.Minute {
			h.Fatalf("%s: RetryAfter = %v", a, after)
		}
		h.advance(after)
		h.mustAllow(q, 1)
	}
}

// slidingWindow is exact up to a limit of 32.
func slidingWindow(limit int64) ratelimit.Policy {
	return ratelimit.Policy{Name: "s", Algorithm: ratelimit.SlidingWindow, Limit: limit, Period: "10s"}
}

func slidingWindowBecomesExact(h *harness) {
	high, low := h.quota(slidingWindow(100)), h.quota(slidingWindow(20))
	h.mustAllow(high, 1)
	h.advance(8 * time.Second)
	r := h.mustAllow(high, 14)
	h.wantRemaining(low, 5)
	h.wantRemaining(high, 85) // the peek has changed nothing
	h.mustRefuse(low, 6, "s")
	h.mustAllow(low, 5)
	h.mustRefuse(low, 1, "s")
	h.noError(r.Release(ctx)) // may return nothing, because its time is forgotten
	h.advance(10 * time.Second)
	h.wantRemaining(low, 20)
	h.wantRemaining(high, 100)
}

func slidingWindowBecomesEstimate(h *harness) {
	low, high := h.quota(slidingWindow(20)), h.quota(slidingWindow(100))
	h.mustAllow(low, 1)
	h.advance(2 * time.Second)
	r := h.mustAllow(low, 14)
	h.wantRemaining(high, 85)
	h.wantRemaining(low, 5)
	h.mustRefuse(high, 86, "s")
	h.mustAllow(high, 80)
	h.wantRemaining(high, 5)
	h.noError(r.Release(ctx))
	h.wantRemaining(high, 19)
	h.advance(10 * time.Second)
	h.wantRemaining(high, 100)
	h.wantRemaining(low, 20)
}

// slidingWindowOfTwoPlans spends one counter under two limits by turns. Nothing
// may be counted twice or forgotten early.
func slidingWindowOfTwoPlans(h *harness) {
	low, high := h.quota(slidingWindow(30)), h.quota(slidingWindow(60))
	for i := range 15 {
		h.mustAllow(low, 1)
		h.mustAllow(high, 1)
		h.wantRemaining(low, int64(28-2*i))
		h.advance(100 * time.Millisecond)
	}
	h.mustRefuse(low, 1, "s")
	h.mustAllow(high, 30)
	h.mustRefuse(high, 1, "s")
	for range 30 { // no refusal, peek or conversion keeps the units longer
		h.advance(time.Second)
		_, _ = h.take(low, 0), h.take(high, 0)
		if r := h.take(low, 1); r.Decision.Allowed {
			h.noError(r.Release(ctx))
		}
	}
	h.wantRemaining(low, 30)
	h.wantRemaining(high, 60)
}
