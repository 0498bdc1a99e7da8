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

// ledger is what a stripe has to tell the shared store.
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
	units   int64           // charged and not given back
}

// debt returns the debt of a counter; nil if there are too many, or if the
// policy's units are leased. base is the mirror's state before the charge. st.mu is
// held.
func (s *Store) debt(st *stripe, b *ratelimit.Batch, step *ratelimit.Step, base ratelimit.State) *debt {
	key := keyOf(b, step)
	if d := st.debts[key]; d != nil {
		return d
	}
	if s.totals.debts.Load() >= maxDebts {
		s.totals.dropped.Add(step.Policy.CostOf(b.Cost))
		return nil
	}
	d := &debt{subject: *subjectOf(b, step), policy: step.Policy, base: base}
	switch {
	case step.Policy.Holds():
		d.slots = s.slots(st, b, step, base)
	default:
		d.share, _ = s.traffic.share(flowOf(b, step), step.Policy, 0, s.o.Instances())
		if step.Policy.Listed() {
			d.log = new(ratelimit.List)
		}
	}
	if st.debts == nil {
		st.debts = map[counterKey]*debt{}
	}
	st.debts[key] = d
	s.totals.debts.Add(1)
	s.record()
	return d
}

// others returns the units that all others spend, if they spend in proportion
// while this process spends the given ones.
func (d *debt) others(units int64) int64 {
	return int64(min(math.Ceil(float64(units)/d.share), ratelimit.MaxLimit)) - units
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

// due returns the units to charge to the shared counter at now: those that are
// still in the log, or this process's share of what the mirror's counter, whose
// state is present, holds more than it would without the charges.
func (d *debt) due(present ratelimit.State, now int64) int64 {
	switch {
	case d.policy.Holds():
		return 0
	case d.log != nil:
		s, _ := d.policy.CheckList(d.log, now, 0)
		return s.N
	default:
		more := d.policy.Spent(present, now) - d.policy.Spent(d.base, now)
		return min(d.units, int64(math.Ceil(d.share*float64(max(0, more))-1e-6)))
	}
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
		kept.Key = new(*b.Key)
	}
	if b.Owner != nil {
		kept.Owner = new(*b.Owner)
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
