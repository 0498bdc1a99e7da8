package fallback_test

import (
	"fmt"
	"math"
	"time"

	"ratelimiter/ratelimit"
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

// maxSurplus is the most that the shares of all instances are above 1 in all. They
// are estimates: an instance doesn't see what others spend between two of its own
// requests if a bucket has drained since, and remembers its own traffic.
const maxSurplus = 0.6

// boundWhole bounds the units admitted above a policy if all instances lose the
// server together: what they didn't know of each other when it happened, by their
// shares; two requests of each, one of them on its way; and what they admit alone when some have returned.
func (w *world) boundWhole(c counter) int64 {
	n := int64(len(w.all))
	if c.policy.Holds() {
		return c.policy.Limit + 2*n
	}
	bound := float64(w.tolerance(c))
	rate := float64(c.policy.Limit) / float64(periodOf(c.policy))
	for i, o := range w.outages {
		shares := 0.0
		for _, r := range w.all {
			share := r.shares[i+1][c]
			shares += share
			bound += math.Ceil(share*float64(o.stale[r][c])) + float64(2*w.cost)
		}
		duration := float64(o.to-o.from) + float64(8*time.Second)
		bound += math.Ceil(min(max(0, shares-1), maxSurplus)*(float64(w.allowed(c.policy))+rate*duration)) + float64(w.overlap(c, o))
	}
	return int64(bound)
}

// tolerance returns what is admitted above a policy without any fault.
func (w *world) tolerance(c counter) int64 {
	switch c.policy.Algorithm {
	case ratelimit.SlidingWindow: // a request of an even run
		return w.cost
	case ratelimit.TokenBucket, ratelimit.LeakyBucket: // a refund of what has drained, because requests before it were refunded
		return 2 * w.cost
	default:
		return 0
	}
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
		if a.alone && a.at >= first-int64(time.Second) && a.at < o.to+int64(8*time.Second) {
			units += a.units
		}
	}
	return units
}

// boundPartly bounds the units admitted above a policy if anything may happen: each
// instance that was alone, its share of the capacity and some requests; reports that
// were lost; and a capacity each time that the server forgot something.
func (w *world) boundPartly(c counter) int64 {
	capacity := w.allowed(c.policy)
	if c.policy.Holds() {
		return capacity*(1+w.promoted) + 2*int64(len(w.all))
	}
	bound := float64(w.promoted*capacity + w.tolerance(c))
	for _, r := range w.all {
		bound += math.Ceil(r.shares[0][c]*float64(capacity)) + float64(3*w.cost+r.link.missed[c.counterName])
	}
	return int64(bound)
}

// accountFaults compares what was admitted with what the server has counted.
func (w *world) accountFaults() (faults []string) {
	admitted := w.total()
	charged, err := w.charged(w.accounts)
	if err != nil {
		return []string{err.Error()}
	}
	var lost, missed int64
	for _, r := range w.all {
		lost += r.link.lost[counterName{account, account}]
		missed += r.link.missed[counterName{account, account}]
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
