package storetest

import (
	"errors"
	"time"

	"ratelimiter/ratelimit"
)

var takingCases = all(
	eachAlgorithm("capacity", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 10 {
			h.pass(q, 1)
		}
		h.refuse(q, 1, p.Name)
		h.remaining(q, 0)
	}),
	eachAlgorithm("peek takes nothing and is never refused", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.pass(q, 0)
		h.remaining(q, 10)
		for range 10 {
			h.pass(q, 1)
		}
		d := h.pass(q, 0).Decision
		if s := d.Statuses()[0]; s.Remaining != 0 || s.RetryAfter <= 0 {
			h.Fatalf("a peek at a spent counter shows %+v", s)
		}
	}),
	eachAlgorithm("a refused request takes nothing", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 9 {
			h.pass(q, 1)
		}
		if p.Algorithm != ratelimit.Concurrency {
			h.refuse(q, 2, p.Name)
		}
		h.remaining(q, 1)
		h.pass(q, 1)
	}),
	eachAlgorithm("a cost out of range is an error and mints nothing", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.pass(q, 1)
		for _, cost := range []int64{-1, -1 << 63, ratelimit.MaxCost + 1} {
			var r ratelimit.Reservation
			if err := h.limiter.Reserve(ctx, &r, q, "", cost); !errors.Is(err, ratelimit.ErrCost) || r.Decision.Allowed {
				h.Fatalf("cost %d: %v, allowed %v", cost, err, r.Decision.Allowed)
			}
		}
		h.remaining(q, 9)
	}),
	eachAlgorithm("a cost above the capacity never passes", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		if p.Algorithm == ratelimit.Concurrency {
			h.pass(q, 11) // one request, whatever its cost
			h.remaining(q, 9)
			return
		}
		r := h.refuse(q, 11, p.Name)
		if s := r.Decision.Statuses()[0]; s.RetryAfter != ratelimit.Never {
			h.Fatalf("retry after %v", s.RetryAfter)
		}
		if _, ok := r.Decision.RetryAfter(); ok {
			h.Fatal("the decision promises a retry")
		}
		h.remaining(q, 10)
	}),
	eachAlgorithm("retry after is exact", retryIsExact),
	[]testCase{
		{"a refusal burns no other policy", refusalBurnsNothing},
		{"a shadow policy refuses nothing and pays only for what it admits", shadow},
		{"a shadow policy below the cost is never charged", shadowBelow},
		{"a reservation that is used again gives back what it took last", reused},
		{"a group's policies apply to it alone", groups},
		{"no policy limits nothing", func(h *harness) {
			d := h.pass(h.quota(), 1000).Decision
			if len(d.Statuses()) != 0 || len(d.AppendField(nil)) != 0 {
				h.Fatalf("there is something: %+v", d)
			}
		}},
		{"sixteen policies at once", sixteen},
	},
)

// retryIsExact checks that a retry passes after RetryAfter and not a
// nanosecond before, for small and large costs.
func retryIsExact(h *harness, p ratelimit.Policy) {
	if p.Algorithm == ratelimit.Concurrency {
		q := h.quota(p)
		for range 10 {
			h.pass(q, 1)
		}
		d := h.refuse(q, 1, p.Name).Decision
		if after, ok := d.RetryAfter(); !ok || after != time.Second {
			h.Fatalf("retry after %v, %v", after, ok)
		}
		return
	}
	q := h.quota(p)
	h.pass(q, 3)
	h.advance(1700 * time.Millisecond)
	h.pass(q, 6)
	for _, cost := range []int64{2, 5, 1, 10, 3, 7} {
		r := h.take(q, cost)
		if r.Decision.Allowed {
			continue
		}
		after, ok := r.Decision.RetryAfter()
		if !ok || after <= 0 {
			h.Fatalf("cost %d: retry after %v, %v", cost, after, ok)
		}
		h.advance(after - 1)
		d := h.refuse(q, cost, p.Name).Decision
		if again, _ := d.RetryAfter(); again != 1 {
			h.Fatalf("cost %d: a nanosecond before, retry after %v", cost, again)
		}
		h.advance(1)
		h.pass(q, cost)
	}
}

func refusalBurnsNothing(h *harness) {
	policies := everyAlgorithm()
	tight := ratelimit.Policy{Name: "tight", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "10s"}
	q := h.quota(append(policies, tight)...)
	h.pass(q, 1)
	for range 20 {
		h.refuse(q, 1, "tight")
	}
	h.remaining(q, 9, 9, 9, 9, 9, 9, 9, 0)
}

func shadow(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "real", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "10s"},
		ratelimit.Policy{Name: "ghost", Algorithm: ratelimit.SlidingLog, Limit: 3, Period: "10s", Mode: ratelimit.Shadow},
	)
	for i := range 7 {
		r := h.take(q, 1)
		d := &r.Decision
		wouldPass := i < 3
		if d.Allowed != (i < 5) || d.Shadows()[0].Allowed != wouldPass || len(d.Statuses()) != 1 {
			h.Fatalf("request %d: %+v", i, d)
		}
		if got := d.Shadows()[0].Remaining; got != int64(max(0, 2-i)) {
			h.Fatalf("request %d: the shadow has %d left", i, got)
		}
	}
	if f := q.PolicyField(""); f != `"real";q=5;w=10` {
		h.Fatalf("the shadow stands in the header: %s", f)
	}
	// Refused by the real policy, the shadow pays nothing.
	h.advance(10 * time.Second)
	h.pass(q, 4)
	r := h.take(q, 2)
	if r.Decision.Allowed || r.Decision.Shadows()[0].Remaining != 3 {
		h.Fatalf("the shadow paid for a refused request: %+v", r.Decision.Shadows())
	}
}

func shadowBelow(h *harness) {
	for _, a := range everyAlgorithm() {
		if a.Algorithm == ratelimit.Concurrency {
			continue // counts requests
		}
		a.Mode, a.Limit = ratelimit.Shadow, 3
		q := h.quotaFor(ratelimit.Subjects{Key: a.Name},
			ratelimit.Policy{Name: "real", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "10s"}, a)
		d := h.pass(q, 4).Decision
		if s := d.Shadows()[0]; s.Allowed || s.Remaining != 3 || s.RetryAfter != ratelimit.Never {
			h.Fatalf("%s: %+v", a.Name, s)
		}
		h.remaining(q, 96)
	}
}

func reused(h *harness) {
	q := h.quota(
		ratelimit.Policy{Name: "real", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"},
		ratelimit.Policy{Name: "ghost", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s", Mode: ratelimit.Shadow},
	)
	var r ratelimit.Reservation
	for range 4 {
		h.ok(h.limiter.Reserve(ctx, &r, q, "", 1))
	}
	h.ok(r.Release(ctx)) // of the fourth, which the shadow would have refused
	if d := h.pass(q, 0).Decision; d.Statuses()[0].Remaining != 7 || d.Shadows()[0].Remaining != 0 {
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
		h.Fatal("a second write passed")
	}
	if r := h.takeIn(q, "read", 1); !r.Decision.Allowed || len(r.Decision.Statuses()) != 1 {
		h.Fatalf("read: %+v", r.Decision)
	}
	h.remaining(q, 3, 0)
}

func sixteen(h *harness) {
	var policies []ratelimit.Policy
	for i := range ratelimit.MaxPolicies {
		p := everyAlgorithm()[i%7]
		p.Name = string(rune('a' + i))
		policies = append(policies, p)
	}
	q := h.quota(policies...)
	for range 10 {
		h.pass(q, 1)
	}
	h.refuse(q, 1, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p")
}
