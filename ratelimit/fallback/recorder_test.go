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
	policy  *ratelimit.Compiled
	subject string
}

// admission is units that were admitted at a time, less what was given back.
type admission struct {
	at    int64
	units int64
	alone bool
	by    *recorder
}

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
}

// recorder is an instance's store: it records what passes.
type recorder struct {
	*fallback.Store
	*record
	link   *link
	broken string

	mu     sync.Mutex
	open   map[*ratelimit.Batch][]*admission
	seen   map[counter]int64   // record.shared at the last answer
	shares map[counter]float64 // the largest when alone
}

func (r *recorder) counterOf(b *ratelimit.Batch, step *ratelimit.Step) counter {
	if step.Policy.PerOwner() {
		return counter{step.Policy, b.Owner.Name}
	}
	return counter{step.Policy, b.Key.Name}
}

// Take implements ratelimit.Store.
func (r *recorder) Take(ctx context.Context, b *ratelimit.Batch) error {
	if err := r.Store.Take(ctx, b); err != nil {
		return err
	}
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	at := b.Now
	if now := r.server.now(); at < now-int64(100*time.Millisecond) || at > now+int64(100*time.Millisecond) {
		at = now // a wrong clock
	}
	var taken []*admission
	for i := range b.Steps {
		step := &b.Steps[i]
		c := r.counterOf(b, step)
		if b.Alone == 0 {
			r.seen[c] = r.shared[c]
		} else {
			r.shares[c] = max(r.shares[c], r.Share(b, step))
		}
		if !step.Charged {
			taken = append(taken, nil)
			continue
		}
		units := step.Policy.CostOf(b.Cost)
		a := &admission{at: at, units: units, alone: b.Alone != 0, by: r}
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
	r.record.mu.Lock()
	for i := range b.Steps {
		step, a := &b.Steps[i], r.open[b][i]
		switch {
		case a == nil || step.Give == 0:
		case step.Policy.Holds():
			r.running[r.counterOf(b, step)]--
		case step.Give > 0:
			a.units -= step.Give
			if r.broken == "refund to another period" {
				step.State.At = b.Now + int64(r.server.ahead)
				step.State.At -= step.State.At % int64(periodOf(step.Policy))
			}
		case step.Policy.Name == account:
			r.debts -= step.Give
		}
	}
	r.record.mu.Unlock()
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
	list := slices.Clone(r.admissions[c])
	slices.SortStableFunc(list, func(a, b *admission) int { return int(a.at - b.at) })
	var state ratelimit.State
	var log ratelimit.List
	worst := int64(0)
	for _, a := range list {
		if a.units <= 0 {
			continue
		}
		if c.policy.Listed() {
			state = c.policy.OweList(&log, a.at, a.units)
		} else {
			state = c.policy.Owe(state, a.at, a.units)
		}
		worst = max(worst, c.policy.Spent(state, a.at)-r.allowed(c.policy))
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
func (r *record) total() (units int64, of counter) {
	for c, list := range r.admissions {
		if c.policy.Name != account {
			continue
		}
		of = c
		for _, a := range list {
			units += a.units
		}
	}
	return units, of
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
