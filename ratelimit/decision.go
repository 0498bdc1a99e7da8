package ratelimit

import (
	"math/bits"
	"time"
)

// Decision is the result of one take over all policies that apply. Its lists
// belong to the reservation and are valid until that is used again.
type Decision struct {
	// Allowed says whether the request may go ahead.
	Allowed bool
	// Wait is how long it is to queue first, for leaky_bucket: see
	// [Reservation.Wait].
	Wait time.Duration

	statuses []Status
	enforced int
}

// Status is where one policy's counter stands after a decision.
type Status struct {
	// Policy is the rule.
	Policy *Compiled
	// Allowed says whether this policy alone lets the request pass.
	Allowed bool
	// Limit is the capacity: how many units a fresh counter admits at once.
	Limit int64
	// Remaining is the largest cost, in units, that would pass now.
	Remaining int64
	// ResetAfter is the time until the counter is full again (buckets), until
	// its window or period ends (windows, calendar), or until its oldest
	// entry leaves (log). It is 0 for concurrency, where nobody knows.
	ResetAfter time.Duration
	// RetryAfter is the time until this cost would pass if nobody else spends,
	// and no sooner; 0 if it has passed; Never if the cost is above the
	// capacity. For concurrency it is a second. A peek gives the time until
	// one unit would pass.
	RetryAfter time.Duration
}

// Statuses are the enforced policies that apply, in quota order; read only.
func (d *Decision) Statuses() []Status { return d.statuses[:d.enforced] }

// Shadows are the shadow policies that apply, in quota order: Allowed says
// what each would have done. They have no part in the decision; read only.
func (d *Decision) Shadows() []Status { return d.statuses[d.enforced:] }

// Violated names the enforced policies that refuse, in quota order; nil when
// the request is allowed.
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

// RetryAfter is the time after which the refused request would pass if nobody
// else spends: the largest over the violated policies. It is false when the
// request was allowed, and when its cost can never pass.
func (d *Decision) RetryAfter() (time.Duration, bool) {
	if d.Allowed {
		return 0, false
	}
	var longest time.Duration
	for i := range d.Statuses() {
		if s := &d.statuses[i]; !s.Allowed {
			longest = max(longest, s.RetryAfter)
		}
	}
	return longest, longest != Never
}

// Tightest is the enforced policy with the least left in proportion to its
// limit; among equals the one that resets last. It is nil when none applies.
func (d *Decision) Tightest() *Status {
	var tightest *Status
	for i := range d.Statuses() {
		if s := &d.statuses[i]; tightest == nil || tighter(s, tightest) {
			tightest = s
		}
	}
	return tightest
}

// tighter compares a.Remaining ÷ a.Limit with b's, without rounding.
func tighter(a, b *Status) bool {
	ahi, alo := bits.Mul64(uint64(a.Remaining), uint64(b.Limit))
	bhi, blo := bits.Mul64(uint64(b.Remaining), uint64(a.Limit))
	if ahi != bhi {
		return ahi < bhi
	}
	return alo < blo || alo == blo && a.ResetAfter > b.ResetAfter
}
