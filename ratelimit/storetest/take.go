package storetest

import (
	"errors"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var takeCases = slices.Concat(
	perAlgorithm("capacity", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.exhaust(q)
		h.mustRefuse(q, 1, p.Name)
		h.wantRemaining(q, 0)
	}),
	perAlgorithm("peek", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.mustAllow(q, 0)
		h.wantRemaining(q, 10)
		h.exhaust(q)
		d := h.mustAllow(q, 0).Decision
		if s := d.Statuses()[0]; s.Remaining != 0 || s.RetryAfter <= 0 {
			h.Fatalf("peek at an exhausted counter: %+v", s)
		}
	}),
	perAlgorithm("refusal_takes_nothing", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 9 {
			h.mustAllow(q, 1)
		}
		if p.Algorithm != ratelimit.Concurrency {
			h.mustRefuse(q, 2, p.Name)
		}
		h.wantRemaining(q, 1)
		h.mustAllow(q, 1)
	}),
	perAlgorithm("cost_out_of_range", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.mustAllow(q, 1)
		for _, cost := range []int64{-1, -1 << 63, ratelimit.MaxCost + 1} {
			var r ratelimit.Reservation
			if err := h.limiter.Reserve(ctx, &r, q, "", cost); !errors.Is(err, ratelimit.ErrCost) || r.Decision.Allowed {
				h.Fatalf("cost %d: err = %v, allowed = %v, want ErrCost", cost, err, r.Decision.Allowed)
			}
		}
		h.wantRemaining(q, 9)
	}),
	perAlgorithm("cost_above_capacity", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		if p.Algorithm == ratelimit.Concurrency {
			h.mustAllow(q, 11) // takes one slot
			h.wantRemaining(q, 9)
			return
		}
		r := h.mustRefuse(q, 11, p.Name)
		if s := r.Decision.Statuses()[0]; s.RetryAfter != ratelimit.Never {
			h.Fatalf("Status.RetryAfter = %v, want Never", s.RetryAfter)
		}
		if _, ok := r.Decision.RetryAfter(); ok {
			h.Fatal("Decision.RetryAfter is ok for a cost above the capacity")
		}
		h.wantRemaining(q, 10)
	}),
	perAlgorithm("exact_retry_after", exactRetryAfter),
	[]testCase{
		{"refusal_charges_no_policy", refusalChargesNoPolicy},
		{"shadow_policy", shadowPolicy},
		{"shadow_policy_below_cost", shadowPolicyBelowCost},
		{"reused_reservation", reusedReservation},
		{"groups", groups},
		{"no_policies", func(h *harness) {
			d := h.mustAllow(h.quota(), 1000).Decision
			if len(d.Statuses()) != 0 || len(d.AppendField(nil)) != 0 {
				h.Fatalf("decision of an empty quota: %+v", d)
			}
		}},
		{"max_policies", maxPolicies},
	},
)

// serverResolution is the resolution of a store's own clock, such as that of Redis.
const serverResolution = time.Microsecond

// exactRetryAfter checks for small and large costs that a retry passes after
// RetryAfter and not a nanosecond earlier.
func exactRetryAfter(h *harness, p ratelimit.Policy) {
	if p.Algorithm == ratelimit.Concurrency {
		q := h.quota(p)
		h.exhaust(q)
		d := h.mustRefuse(q, 1, p.Name).Decision
		if after, ok := d.RetryAfter(); !ok || after != time.Second {
			h.Fatalf("RetryAfter = %v, %v, want 1s, true", after, ok)
		}
		return
	}
	q := h.quota(p)
	h.mustAllow(q, 3)
	h.advance(1700 * time.Millisecond)
	h.mustAllow(q, 6)
	for _, cost := range []int64{2, 5, 1, 10, 3, 7} {
		r := h.take(q, cost)
		if r.Decision.Allowed {
			continue
		}
		after, ok := r.Decision.RetryAfter()
		if !ok || after <= 0 {
			h.Fatalf("cost %d: RetryAfter = %v, %v", cost, after, ok)
		}
		h.advance(after - 1)
		d := h.mustRefuse(q, cost, p.Name).Decision
		if again, _ := d.RetryAfter(); again != 1 && again != serverResolution {
			h.Fatalf("cost %d: RetryAfter = %v a nanosecond earlier, want 1ns", cost, again)
		}
		h.advance(1)
		h.mustAllow(q, cost)
	}
}

func refusalChargesNoPolicy(h *harness) {
	policies := everyAlgorithm()
	tight := ratelimit.Policy{Name: "tight", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "10s"}
	q := h.quota(append(policies, tight)...)
	h.mustAllow(q, 1)
	for range 20 {
		h.mustRefuse(q, 1, "tight")
	}
	h.wantRemaining(q, 9, 9, 9, 9, 9, 9, 9, 0)
}

func shadowPolicy(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "enforced", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "10s"},
		ratelimit.Policy{Name: "shadow", Algorithm: ratelimit.SlidingLog, Limit: 3, Period: "10s", Mode: ratelimit.Shadow},
	)
	for i := range 7 {
		r := h.take(q, 1)
		d := &r.Decision
		wouldPass := i < 3
		if d.Allowed != (i < 5) || d.Shadows()[0].Allowed != wouldPass || len(d.Statuses()) != 1 {
			h.Fatalf("request %d: %+v", i, d)
		}
		if got := d.Shadows()[0].Remaining; got != int64(max(0, 2-i)) {
			h.Fatalf("request %d: shadow: Remaining = %d", i, got)
		}
	}
	if f := q.PolicyField(""); f != `"enforced";q=5;w=10` {
		h.Fatalf("PolicyField includes the shadow policy: %s", f)
	}
	// A request that the enforced policy refuses doesn't charge the shadow policy.
	h.advance(10 * time.Second)
	h.mustAllow(q, 4)
	r := h.take(q, 2)
	if r.Decision.Allowed || r.Decision.Shadows()[0].Remaining != 3 {
		h.Fatalf("shadow policy is charged for a refused request: %+v", r.Decision.Shadows())
	}
}

func shadowPolicyBelowCost(h *harness) {
	for _, a := range everyAlgorithm() {
		if a.Algorithm == ratelimit.Concurrency {
			continue // takes one slot for any cost
		}
		a.Mode, a.Limit = ratelimit.Shadow, 3
		q := h.quotaFor(ratelimit.Subjects{Key: a.Name},
			ratelimit.Policy{Name: "enforced", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "10s"}, a)
		d := h.mustAllow(q, 4).Decision
		if s := d.Shadows()[0]; s.Allowed || s.Remaining != 3 || s.RetryAfter != ratelimit.Never {
			h.Fatalf("%s: %+v", a.Name, s)
		}
		h.wantRemaining(q, 96)
	}
}

func reusedReservation(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "enforced", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"},
		ratelimit.Policy{Name: "shadow", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s", Mode: ratelimit.Shadow},
	)
	var r ratelimit.Reservation
	for range 4 {
		h.noError(h.limiter.Reserve(ctx, &r, q, "", 1))
	}
	h.noError(r.Release(ctx)) // releases the fourth take, which the shadow policy would refuse
	if d := h.mustAllow(q, 0).Decision; d.Statuses()[0].Remaining != 7 || d.Shadows()[0].Remaining != 0 {
		h.Fatalf("%+v, %+v", d.Statuses(), d.Shadows())
	}
}

func groups(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "all", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "10s"},
		ratelimit.Policy{Name: "writes", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "10s", Group: "write"},
	)
	if r := h.takeIn(q, "write", 1); !r.Decision.Allowed || len(r.Decision.Statuses()) != 2 {
		h.Fatalf("write: %+v", r.Decision)
	}
	if r := h.takeIn(q, "write", 1); r.Decision.Allowed {
		h.Fatal("second write is allowed")
	}
	if r := h.takeIn(q, "read", 1); !r.Decision.Allowed || len(r.Decision.Statuses()) != 1 {
		h.Fatalf("read: %+v", r.Decision)
	}
	h.wantRemaining(q, 3, 0)
}

func maxPolicies(h *harness) {
	var policies []ratelimit.Policy
	for i := range ratelimit.MaxPolicies {
		p := everyAlgorithm()[i%7]
		p.Name = string(rune('a' + i))
		policies = append(policies, p)
	}
	q := h.quota(policies...)
	h.exhaust(q)
	h.mustRefuse(q, 1, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p")
}
