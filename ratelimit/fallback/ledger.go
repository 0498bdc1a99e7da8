package fallback

import (
	"math"
	"slices"

	"ratelimiter/ratelimit"
)

// Bounds of all ledgers together.
const (
	maxDebts = 200_000 // about 300 bytes each
	maxLater = 10_000  // batches, of at most 1.5 KB each
)

// ledger is what a stripe has to report to the shared store.
type ledger struct {
	// number distinguishes the ledger from earlier ones, which have been reported.
	number uint32
	// debts are what was admitted alone, by counter.
	debts map[counterKey]*debt
	// later are batches taken from the shared store and settled alone.
	later []*ratelimit.Batch
}

// counterKey identifies a counter.
type counterKey struct {
	subject [2]uint64
	policy  uint64
}

func keyOf(b *ratelimit.Batch, step *ratelimit.Step) counterKey {
	return counterKey{subjectOf(b, step).Hash, step.Policy.ID()}
}

// debt is what was admitted alone from one counter and isn't reported.
type debt struct {
	subject ratelimit.Subject
	policy  *ratelimit.Compiled
	share   float64         // this process's, at the first decision
	slots   int64           // of concurrency: what this process may hold
	base    ratelimit.State // of a State: the mirror's before the first charge
	log     *ratelimit.List // of a log: the charges
	units   int64           // charged and not given back since base
	due     int64           // to be reported from before base
	owed    float64         // of the others' units, the part below 1 that isn't charged yet
}

// debt returns the debt of a counter, for a charge of some units. If there are too
// many, it isn't kept. base is the mirror's state before the charge. st.mu is held.
func (s *Store) debt(st *stripe, b *ratelimit.Batch, step *ratelimit.Step, base ratelimit.State, units int64) *debt {
	key := keyOf(b, step)
	d := st.debts[key]
	switch {
	case d == nil:
		d = &debt{subject: *subjectOf(b, step)}
		if step.Policy.Holds() {
			d.slots = s.slots(st, b, step, base)
		}
		s.keepDebt(st, key, d, units)
	case d.units > 0 || step.Policy.Holds():
		return d
	}
	d.policy, d.base, d.log = step.Policy, base, nil
	d.share, _ = s.traffic.share(flowOf(b, step), step.Policy, 0, s.o.Instances())
	if step.Policy.Listed() {
		d.log = new(ratelimit.List)
	}
	return d
}

// keepDebt adds a debt to the ledger, if there is room. st.mu is held.
func (s *Store) keepDebt(st *stripe, key counterKey, d *debt, units int64) {
	if s.totals.debts.Load() >= maxDebts {
		s.totals.dropped.Add(units)
		return
	}
	if st.debts == nil {
		st.debts = map[counterKey]*debt{}
	}
	st.debts[key] = d
	s.totals.debts.Add(1)
	s.record()
}

// others returns the units that all others spend, if they spend in proportion
// while this process spends the given ones.
func (d *debt) others(units int64) int64 {
	d.owed += float64(units) * (1/d.share - 1)
	whole := math.Floor(d.owed)
	d.owed -= whole
	return int64(min(whole, ratelimit.MaxLimit))
}

func (d *debt) add(now, units int64) {
	d.units += units
	if d.log != nil {
		d.policy.OweList(d.log, now, units)
	}
}

func (d *debt) giveBack(taken ratelimit.State, now, units int64) {
	d.units = max(0, d.units-units)
	if d.log != nil {
		d.policy.GiveList(d.log, taken, now, units, 0)
	}
}

// close determines what is due at now: the units that are still in the log, or this
// process's share of what the mirror's counter, whose state is present, holds more
// than it would without the charges.
func (d *debt) close(present ratelimit.State, now int64) {
	switch {
	case d.units == 0:
	case d.log != nil:
		s, _ := d.policy.CheckList(d.log, now, 0)
		d.due += s.N
	default:
		more := d.policy.Spent(present, now) - d.policy.Spent(d.base, now)
		d.due += min(d.units, int64(math.Ceil(d.share*float64(max(0, more))-1e-6)))
	}
	d.units = 0
}

// giveLater keeps what is to be given back to the shared store. If it has been
// tried, that is only what can be repeated: a batch with a record, or slots. Debts
// are in the ledger. st.mu is held.
func (s *Store) giveLater(st *stripe, b *ratelimit.Batch, tried bool) {
	once := b.Once != ""
	useful := once
	for i := range b.Steps {
		step := &b.Steps[i]
		useful = useful || step.Give > 0 && (!tried || step.Policy.Holds())
	}
	if !useful {
		return
	}
	if s.totals.later.Load() >= maxLater {
		s.totals.lostGives.Add(1)
		return
	}
	kept := *b
	if b.Key != nil {
		kept.Key = b.Key.Clone()
	}
	if b.Owner != nil {
		kept.Owner = b.Owner.Clone()
	}
	kept.Steps = slices.Clone(b.Steps)
	for i := range kept.Steps {
		step := &kept.Steps[i]
		if repeatable := once || !tried || step.Policy.Holds(); !repeatable || step.Give < 0 && !tried {
			step.Give = 0
		}
	}
	st.later = append(st.later, &kept)
	s.totals.later.Add(1)
	s.record()
}

// freeLater keeps the slots that a take without an answer may have taken, so that the
// shared store frees them before their hold has passed: nobody holds them, because the
// request is decided alone. st.mu is held.
func (s *Store) freeLater(st *stripe, b *ratelimit.Batch) {
	slots := st.copy(b)
	for i := range slots.Steps {
		step := &slots.Steps[i]
		if step.Give = 0; step.Policy.Holds() && b.Cost > 0 && !b.Refused {
			step.Give = 1
		}
	}
	s.giveLater(st, slots, true)
}

// forget drops the debts of counters that were reset. st.mu is held.
func (s *Store) forget(st *stripe, b *ratelimit.Batch) {
	for i := range b.Steps {
		if key := keyOf(b, &b.Steps[i]); st.debts[key] != nil {
			delete(st.debts, key)
			s.totals.debts.Add(-1)
		}
	}
}

// record wakes the reporter.
func (s *Store) record() {
	select {
	case s.recorded <- struct{}{}:
	default:
	}
}
