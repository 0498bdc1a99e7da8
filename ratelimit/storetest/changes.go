package storetest

import (
	"time"

	"ratelimiter/ratelimit"
)

var changeCases = all(
	eachAlgorithm("a changed limit keeps what was spent", func(h *harness, p ratelimit.Policy) {
		with := func(limit int64) *ratelimit.Quota {
			p.Limit = limit
			return h.quota(p)
		}
		q := with(10)
		for range 8 {
			h.pass(q, 1)
		}
		h.remaining(with(20), 12)
		h.remaining(with(8), 0)
		h.refuse(with(8), 1, p.Name)
		h.remaining(with(5), 0)
		h.refuse(with(5), 1, p.Name)
		h.remaining(with(10), 2)
		raised := with(12)
		for range 4 {
			h.pass(raised, 1)
		}
		h.refuse(raised, 1, p.Name)
	}),
	eachAlgorithm("another algorithm starts anew", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.pass(q, 6)
		for _, other := range everyAlgorithm() {
			if other.Algorithm == p.Algorithm {
				continue
			}
			other.Name = p.Name
			h.remaining(h.quota(other), 10)
		}
		// Looking at it has changed nothing.
		h.remaining(q, left(p, 6))
		other := ratelimit.Policy{Name: p.Name, Algorithm: ratelimit.SlidingLog, Limit: 10, Period: "1h"}
		h.pass(h.quota(other), 4)
		h.remaining(h.quota(other), 6)
		// Nor has using the other: who could go back and forth would have no limit.
		h.remaining(q, left(p, 6))
	}),
	[]testCase{
		{"another period starts anew", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"}
			h.pass(h.quota(p), 6)
			p.Period = "20s"
			h.remaining(h.quota(p), 10)
		}},
		{"another burst keeps what was spent", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "10s", Burst: 20}
			h.pass(h.quota(p), 15)
			p.Burst = 40
			h.remaining(h.quota(p), 25)
			p.Burst = 10
			h.remaining(h.quota(p), 0)
			h.advance(6 * time.Second)
			h.remaining(h.quota(p), 1)
		}},
		{"another zone or anchor day starts anew", func(h *harness) {
			p := ratelimit.Policy{Name: "p", Algorithm: ratelimit.Calendar, Limit: 10, Period: ratelimit.Month}
			h.pass(h.quota(p), 6)
			p.AnchorDay = 3
			h.remaining(h.quota(p), 10)
			p.AnchorDay, p.TimeZone = 0, "Asia/Tokyo"
			h.remaining(h.quota(p), 10)
		}},
		{"a policy that is added finds the others as they were", func(h *harness) {
			policies := everyAlgorithm()
			for n := 1; n <= len(policies); n++ {
				h.pass(h.quota(policies[:n]...), 1)
			}
			h.remaining(h.quota(policies...), 3, 4, 5, 6, 7, 8, 9)
			// And in another order, too.
			policies[0], policies[6] = policies[6], policies[0]
			h.remaining(h.quota(policies...), 9, 4, 5, 6, 7, 8, 3)
		}},
		{"a sharply lowered limit blocks for a period at most", lowered},
	},
)

// lowered: after a limit of a million is spent and lowered to ten, a bucket
// would pay off its debt for months; it passes again within a period of
// becoming full, as a window does.
func lowered(h *harness) {
	for _, a := range []ratelimit.Algorithm{ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow} {
		p := ratelimit.Policy{Name: string(a), Algorithm: a, Limit: 1_000_000, Period: "1m"}
		if a == ratelimit.LeakyBucket {
			p.MaxWait = "1m"
		}
		h.pass(h.quota(p), 1_000_000)
		p.Limit = 10
		q := h.quota(p)
		r := h.refuse(q, 1, p.Name)
		after, ok := r.Decision.RetryAfter()
		if !ok || after > 2*time.Minute {
			h.Fatalf("%s: retry after %v", a, after)
		}
		h.advance(after)
		h.pass(q, 1)
	}
}
