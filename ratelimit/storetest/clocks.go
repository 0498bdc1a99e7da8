package storetest

import (
	"time"

	"ratelimiter/ratelimit"
)

var clockCases = all(
	eachAlgorithm("a clock set back an hour", func(h *harness, p ratelimit.Policy) {
		h.advance(90 * time.Minute)
		stepped(h, p, -time.Hour)
	}),
	eachAlgorithm("a clock set forward a year", func(h *harness, p ratelimit.Policy) {
		stepped(h, p, 365*24*time.Hour)
	}),
	eachAlgorithm("callers out of order mint nothing", outOfOrder),
	eachAlgorithm("a counter that nobody touches does not block for ever", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		for range 10 {
			h.pass(q, 1)
		}
		h.refuse(q, 1, p.Name)
		h.advance(25 * time.Hour)
		h.remaining(q, 10)
		h.pass(q, 1)
	}),
)

// stepped spends a counter, steps the clock, spends what there is, and steps
// it back: over both steps no more than two bursts may come on top of the
// first, one a step, and afterwards nobody is stuck.
func stepped(h *harness, p ratelimit.Policy, step time.Duration) {
	q := h.quota(p)
	drain := func() (n int) {
		for h.take(q, 1).Decision.Allowed {
			if n++; n > 10 {
				h.Fatal("more than a burst at one instant")
			}
		}
		return n
	}
	if n := drain(); n != 10 {
		h.Fatalf("%d passed at first", n)
	}
	h.advance(step)
	drain()
	h.advance(-step)
	drain()
	h.advance(step)
	for range 3 {
		r := h.take(q, 1)
		if r.Decision.Allowed {
			return
		}
		after, ok := r.Decision.RetryAfter()
		if !ok || after > 24*time.Hour {
			h.Fatalf("stuck: retry after %v, %v", after, ok)
		}
		if p.Algorithm == ratelimit.Concurrency {
			after = 10 * time.Second // its hold
		}
		h.advance(after)
	}
	h.Fatal("stuck: the retries that were promised don't pass")
}

// outOfOrder lets callers who read the clock before others arrive after them,
// around every boundary that there is. What passes is what would have passed
// had all come at the latest time.
func outOfOrder(h *harness, p ratelimit.Policy) {
	q := h.quota(p)
	for !boundary(h.now()) {
		h.advance(time.Second)
	}
	for range 10 {
		h.pass(q, 1)
	}
	for _, late := range []time.Duration{1, time.Millisecond, 999 * time.Millisecond, 4 * time.Second} {
		h.advance(-late)
		h.refuse(q, 1, p.Name)
		h.advance(late)
		h.refuse(q, 1, p.Name)
	}
}

// boundary is a microsecond after the beginning of a window of ten seconds
// and of a day.
func boundary(t time.Time) bool { return t.Unix()%86400 == 0 }
