package fallback_test

import (
	"fmt"
	"math"
	"time"
)

// faults returns what is wrong at the end of a simulation.
func (w *world) faults() (faults []string) {
	for c := range w.admissions {
		if c.policy.Name == account {
			continue
		}
		bound := w.boundPartly(c)
		if w.whole {
			bound = w.boundWhole(c)
		}
		if excess := w.excess(c); excess > bound {
			faults = append(faults, fmt.Sprintf("%s %s of %s: %d units above the limit of %d, bound %d", c.policy.Name, c.policy.Algorithm, c.subject, excess, w.allowed(c.policy), bound))
		}
	}
	return append(faults, w.accountFaults()...)
}

// boundWhole bounds the units admitted above a policy if all instances lose the
// server together: what they didn't know of each other when it happened, by their
// shares; a request of each; and what they admit alone when some have returned.
func (w *world) boundWhole(c counter) int64 {
	n := int64(len(w.all))
	if c.policy.Holds() {
		return c.policy.Limit + 2*n
	}
	bound := 3 * n * w.cost
	if len(w.outages) == 0 {
		return bound
	}
	shares := 0.0
	for _, r := range w.all {
		shares += r.shares[c]
	}
	bound += int64(math.Ceil(max(0, shares-1) * float64(w.allowed(c.policy))))
	worst := int64(0)
	for _, o := range w.outages {
		unknown := int64(0)
		for _, r := range w.all {
			unknown += int64(math.Ceil(r.shares[c] * float64(o.stale[r][c])))
		}
		worst = max(worst, unknown+w.overlap(c, o))
	}
	return bound + worst
}

// overlap returns the units admitted alone after an outage from a second before the
// first instance has returned.
func (w *world) overlap(c counter, o *outage) (units int64) {
	first := int64(math.MaxInt64)
	for _, a := range w.admissions[c] {
		if a.at > o.to && !a.alone {
			first = min(first, a.at)
		}
	}
	for _, a := range w.admissions[c] {
		if a.alone && a.at >= first-int64(time.Second) {
			units += a.units
		}
	}
	return units
}

// boundPartly bounds the units admitted above a policy if anything may happen: each
// instance that was alone, its share of the capacity and a request; and a capacity
// each time that the server forgot something.
func (w *world) boundPartly(c counter) int64 {
	capacity := w.allowed(c.policy)
	if c.policy.Holds() {
		return capacity*(1+w.promoted) + 2*int64(len(w.all))
	}
	bound := float64(w.promoted*capacity) + float64(3*int64(len(w.all))*w.cost)
	for _, r := range w.all {
		bound += r.shares[c] * float64(capacity)
	}
	return int64(bound)
}

// accountFaults compares what was admitted with what the server has counted.
func (w *world) accountFaults() (faults []string) {
	admitted, _ := w.total()
	charged, err := w.charged(w.accounts)
	if err != nil {
		return []string{err.Error()}
	}
	var lost, missed int64
	for _, r := range w.all {
		lost += r.link.lost
		missed += r.link.missed
	}
	spent := admitted + w.debts
	if charged > spent+lost {
		faults = append(faults, fmt.Sprintf("%d units charged, %d admitted, %d lost", charged, spent, lost))
	}
	if w.promoted == 0 && charged < spent-missed {
		faults = append(faults, fmt.Sprintf("%d units charged, %d admitted, %d missed", charged, spent, missed))
	}
	return faults
}
