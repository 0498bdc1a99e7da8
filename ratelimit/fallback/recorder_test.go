package fallback_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
)

// account is the policy that is never refunded, refuses nothing and drains nothing,
// so that charges can be compared exactly.
const account = "account"

// counter is one counter of a simulation.
type counter struct {
	counterName
	policy *ratelimit.Compiled
}

// admission is units that were admitted at a time, less what was given back.
type admission struct {
	at    int64
	units int64
	alone bool
	back  []refund
}

// refund is units that were given back.
type refund struct{ at, units int64 }

// ledger records what all instances admit.
type record struct {
	mu         sync.Mutex
	server     *server
	admissions map[counter][]*admission
	shared     map[counter]int64 // units admitted by the shared store
	running    map[counter]int64 // slots of concurrency
	most       map[counter]int64
	debts      int64 // of the account
	cost       int64 // largest
	outage     int   // number of the present or last outage
}

// recorder is an instance's store: it records what passes.
type recorder struct {
	*fallback.Store
	*record
	link   *link
	broken string

	open   map[*ratelimit.Batch][]*admission
	seen   map[counter]int64           // record.shared at the last answer
	shares map[int]map[counter]float64 // the largest when alone, by outage
}

func counterOf(b *ratelimit.Batch, step *ratelimit.Step) counter {
	return counter{nameOf(b, step), step.Policy}
}

// Take implements ratelimit.Store.
func (r *recorder) Take(ctx context.Context, b *ratelimit.Batch) error {
	if err := r.Store.Take(ctx, b); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := b.Now
	if now := r.server.now(); at < now-int64(100*time.Millisecond) || at > now+int64(100*time.Millisecond) {
		at = now // a wrong clock
	}
	var taken []*admission
	for i := range b.Steps {
		step := &b.Steps[i]
		c := counterOf(b, step)
		if b.Alone == 0 {
			r.seen[c] = r.shared[c]
		} else {
			if r.shares[r.outage] == nil {
				r.shares[r.outage] = map[counter]float64{}
			}
			r.shares[r.outage][c] = max(r.shares[r.outage][c], r.Share(b, step))
		}
		if !step.Charged {
			taken = append(taken, nil)
			continue
		}
		units := step.Policy.CostOf(b.Cost)
		a := &admission{at: at, units: units, alone: b.Alone != 0}
		r.admissions[c] = append(r.admissions[c], a)
		taken = append(taken, a)
		if b.Alone == 0 {
			r.shared[c] += units
			r.seen[c] += units
		}
		if step.Policy.Holds() {
			r.running[c]++
			r.most[c] = max(r.most[c], r.running[c])
		}
	}
	r.open[b] = taken
	return nil
}

// Give implements ratelimit.Store.
func (r *recorder) Give(ctx context.Context, b *ratelimit.Batch) error {
	r.mu.Lock()
	for i := range b.Steps {
		step, a := &b.Steps[i], r.open[b][i]
		switch {
		case a == nil || step.Give == 0:
		case step.Policy.Holds():
			r.running[counterOf(b, step)]--
		case step.Give > 0:
			a.units -= step.Give
			a.back = append(a.back, refund{r.server.now(), step.Give})
			if r.broken == "refund to another period" {
				step.State.At = r.server.now()
				if step.Policy.Algorithm == ratelimit.FixedWindow {
					step.State.At -= step.State.At % int64(periodOf(step.Policy))
				}
			}
		case step.Policy.Name == account:
			r.debts -= step.Give
		}
	}
	r.mu.Unlock()
	return r.Store.Give(ctx, b)
}

func periodOf(p *ratelimit.Compiled) time.Duration {
	d, _ := p.Period.Duration()
	return max(d, 1)
}

// excess returns the most that was admitted above what the policy alone allows, at
// any time: the admissions are charged to a fresh counter.
func (r *record) excess(c counter) int64 {
	if c.policy.Holds() {
		return r.most[c] - c.policy.Limit
	}
	if c.policy.Algorithm == ratelimit.FixedWindow {
		return r.windowExcess(c)
	}
	list := slices.Clone(r.admissions[c])
	slices.SortStableFunc(list, func(a, b *admission) int { return int(a.at - b.at) })
	var state ratelimit.State
	var log ratelimit.List
	worst, recent, first := int64(0), int64(0), 0
	for _, a := range list {
		if a.units <= 0 {
			continue
		}
		for recent += a.units; list[first].at <= a.at-int64(periodOf(c.policy)); first++ {
			recent -= max(0, list[first].units)
		}
		if c.policy.Listed() {
			state = c.policy.OweList(&log, a.at, a.units)
		} else {
			state = c.policy.Owe(state, a.at, a.units)
		}
		spent := c.policy.Spent(state, a.at)
		if c.policy.Algorithm == ratelimit.SlidingWindow {
			spent = min(spent, recent) // the estimate may be too high
		}
		worst = max(worst, spent-r.allowed(c.policy))
	}
	return worst
}

// windowExcess is excess for fixed_window. A refund counts from its time on, if it is
// in the window of its admission.
func (r *record) windowExcess(c counter) (worst int64) {
	period := int64(periodOf(c.policy))
	windows := map[int64][]refund{} // by start; admissions are negative refunds
	for _, a := range r.admissions[c] {
		of := a.at / period
		units := a.units
		for _, back := range a.back {
			units += back.units
			if back.at/period == of {
				windows[of] = append(windows[of], back)
			}
		}
		windows[of] = append(windows[of], refund{a.at, -units})
	}
	for _, events := range windows {
		slices.SortStableFunc(events, func(a, b refund) int { return int(a.at - b.at) })
		used := int64(0)
		for _, e := range events {
			used -= e.units
			worst = max(worst, used-c.policy.Limit)
		}
	}
	return worst
}

// allowed returns the most units of a counter that aren't restored, if nothing
// fails.
func (r *record) allowed(p *ratelimit.Compiled) int64 {
	if p.Algorithm != ratelimit.LeakyBucket {
		return p.Capacity()
	}
	wait, _ := p.MaxWait.Duration()
	return min(p.Capacity(), int64(wait)*p.Limit/int64(periodOf(p))+r.cost+1)
}

// total returns the units admitted of the account.
func (r *record) total() (units int64) {
	for c, list := range r.admissions {
		if c.policy.Name == account {
			for _, a := range list {
				units += a.units
			}
		}
	}
	return units
}

// charged returns the units of a counter in the server.
func (r *record) charged(q *ratelimit.Quota) (int64, error) {
	d, err := ratelimit.New(r.server.store, ratelimit.WithClock(func() time.Time { return time.Unix(0, r.server.now()) })).PeekAll(context.Background(), q)
	if err != nil {
		return 0, err
	}
	for _, s := range d.Statuses() {
		if s.Policy.Name == account {
			return s.Limit - s.Remaining, nil
		}
	}
	return 0, errors.New("no account")
}
