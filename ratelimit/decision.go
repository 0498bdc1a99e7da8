package ratelimit

import (
	"math/bits"
	"time"
)

// Decision is the result of one take over all policies that apply. Its slices
// belong to the reservation and are valid until it is reused.
type Decision struct {
	// Allowed reports whether the request may proceed.
	Allowed bool
	// Wait is the time that the request must queue first because of a
	// leaky_bucket policy. See [Reservation.Wait].
	Wait time.Duration

	statuses []Status
	enforced int
}

// Status is the result of a decision for one policy.
type Status struct {
	// Policy is the compiled policy.
	Policy *Compiled
	// Allowed reports whether this policy by itself admits the request.
	Allowed bool
	// Limit is the capacity, in units.
	Limit int64
	// Remaining is the units that can be spent now: the largest cost that would
	// pass, or for leaky_bucket the number of single units that would queue.
	Remaining int64
	// ResetAfter is the time until the counter is full (buckets), until the
	// window or period ends (windows, calendar), or until the oldest entry
	// leaves (log). It is 0 for concurrency, where it is unknown.
	ResetAfter time.Duration
	// EffectiveWindow is the time, counted from the decision, within which no
	// more than Remaining can be spent: until the next unit returns (buckets,
	// sliding_window, sliding_log), or until the end (fixed_window, calendar).
	// While nothing is spent, it is the emission interval of a bucket and the
	// period of a sliding_window or sliding_log. It is 0 for concurrency. It is
	// the parameter t of the RateLimit field.
	EffectiveWindow time.Duration
	// RetryAfter is the shortest time after which this cost would pass if no
	// other request is charged. It is 0 if the cost passed and Never if
	// the cost is above the capacity. For concurrency, where it is unknown, it
	// is one second. A peek reports the time until one unit would pass.
	RetryAfter time.Duration
}

// Statuses returns the enforced policies that apply, in quota order. The
// result must not be modified.
func (d *Decision) Statuses() []Status { return d.statuses[:d.enforced] }

// Shadows returns the shadow policies that apply, in quota order. They don't
// affect the decision; Allowed reports what each would have done. The result
// must not be modified.
func (d *Decision) Shadows() []Status { return d.statuses[d.enforced:] }

// Violated returns the names of the enforced policies that refuse the request,
// in quota order. It is nil if the request is allowed.
func (d *Decision) Violated() []string {
	if d.Allowed {
		return nil
	}
	var names []string
	for i := range d.Statuses() {
		if !d.statuses[i].Allowed {
			names = append(names, d.statuses[i].Policy.Name)
		}
	}
	return names
}

// RetryAfter returns the time after which the refused request would pass if no
// other request is charged: the longest of the violated policies, and not before
// the end of their effective windows. It returns false if the request was allowed
// or its cost can never pass.
func (d *Decision) RetryAfter() (time.Duration, bool) {
	if d.Allowed {
		return 0, false
	}
	var longest time.Duration
	for i := range d.Statuses() {
		if s := &d.statuses[i]; !s.Allowed {
			longest = max(longest, s.RetryAfter, s.EffectiveWindow)
		}
	}
	return longest, longest != Never
}

// Tightest returns the enforced policy with the smallest ratio of Remaining to
// Limit; among equals, the one that resets last. It is nil if none applies.
func (d *Decision) Tightest() *Status {
	var tightest *Status
	for i := range d.Statuses() {
		if s := &d.statuses[i]; tightest == nil || tighter(s, tightest) {
			tightest = s
		}
	}
	return tightest
}

// tighter compares the ratios of Remaining to Limit without rounding.
func tighter(a, b *Status) bool {
	ahi, alo := bits.Mul64(uint64(a.Remaining), uint64(b.Limit))
	bhi, blo := bits.Mul64(uint64(b.Remaining), uint64(a.Limit))
	if ahi != bhi {
		return ahi < bhi
	}
	return alo < blo || alo == blo && a.ResetAfter > b.ResetAfter
}
