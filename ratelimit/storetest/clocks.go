package storetest

import (
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

var clockCases = slices.Concat(
	perAlgorithm("set_back_an_hour", func(h *harness, p ratelimit.Policy) {
		h.advance(90 * time.Minute)
		steppedClock(h, p, -time.Hour)
	}),
	perAlgorithm("set_forward_a_year", func(h *harness, p ratelimit.Policy) {
		steppedClock(h, p, 365*24*time.Hour)
	}),
	perAlgorithm("late_callers", lateCallers),
	perAlgorithm("idle_counter_recovers", func(h *harness, p ratelimit.Policy) {
		q := h.quota(p)
		h.exhaust(q)
		h.mustRefuse(q, 1, p.Name)
		h.advance(25 * time.Hour)
		h.wantRemaining(q, 10)
		h.mustAllow(q, 1)
	}),
)

// steppedClock exhausts a counter, steps the clock and exhausts it again, several
// times. No step may admit more than one burst, and a retry must pass after the
// steps.
func steppedClock(h *harness, p ratelimit.Policy, step time.Duration) {
	q := h.quota(p)
	drain := func() (n int) {
		for h.take(q, 1).Decision.Allowed {
			if n++; n > 10 {
				h.Fatal("more than a burst is allowed at one instant")
			}
		}
		return n
	}
	if n := drain(); n != 10 {
		h.Fatalf("%d takes are allowed before the step, want 10", n)
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
			h.Fatalf("RetryAfter = %v, %v after the steps", after, ok)
		}
		if p.Algorithm == ratelimit.Concurrency {
			after = 10 * time.Second // its hold
		}
		h.advance(after)
	}
	h.Fatal("retries after RetryAfter are refused")
}

// lateCallers lets callers arrive after others that read the clock later, across
// window boundaries. They get the same verdicts as at the latest time.
func lateCallers(h *harness, p ratelimit.Policy) {
	q := h.quota(p)
	for h.now().Unix()%86400 != 0 { // to a window of ten seconds, and of a day
		h.advance(time.Second)
	}
	h.exhaust(q)
	for _, late := range []time.Duration{1, time.Millisecond, 999 * time.Millisecond, 4 * time.Second} {
		h.advance(-late)
		h.mustRefuse(q, 1, p.Name)
		h.advance(late)
		h.mustRefuse(q, 1, p.Name)
	}
}
