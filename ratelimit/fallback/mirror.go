package fallback

import (
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// subjectOf returns the subject whose counter a step spends.
func subjectOf(b *ratelimit.Batch, step *ratelimit.Step) *ratelimit.Subject {
	if step.Policy.PerOwner() {
		return b.Owner
	}
	return b.Key
}

// repeat repeats an answer of the shared store in the mirror, and learns from the
// difference what others have spent. It leaves out counters that have been charged
// alone and aren't reported yet, because the shared store doesn't know of that, and
// those of which a later answer is known. st.mu is held.
func (s *Store) repeat(st *stripe, b *ratelimit.Batch, slots memory.SlotChange) {
	giving := slots == memory.FreeSlots
	var before [ratelimit.MaxPolicies]int64
	skip, late := s.unrepeatable(st, b, giving)
	if s.mirror.Mirror(b, slots, skip|late, &before) != nil {
		return // the largest subjects only
	}
	for i := range b.Steps {
		if step := &b.Steps[i]; skip>>i&1 == 0 {
			s.learn(b, step, giving, before[i])
		}
	}
}

// adopt repeats the answer to a report in the mirror. Nothing is learned from it,
// because it doesn't tell traffic from other reports. st.mu is held.
func (s *Store) adopt(st *stripe, b *ratelimit.Batch) {
	var before [ratelimit.MaxPolicies]int64
	skip, late := s.unrepeatable(st, b, true)
	_ = s.mirror.Mirror(b, memory.FreeSlots, skip|late, &before) // fails for the largest subjects only
}

// unrepeatable returns the steps of an answer that say nothing about the counter,
// as bits, and those of which a later answer is known. st.mu is held.
func (s *Store) unrepeatable(st *stripe, b *ratelimit.Batch, giving bool) (skip, late uint32) {
	for i := range b.Steps {
		step := &b.Steps[i]
		pending := len(st.debts) > 0 && st.debts[keyOf(b, step)] != nil && !step.Policy.Holds()
		switch {
		case pending, giving && step.Give == 0:
			skip |= 1 << i
		case !step.Policy.Holds() && !s.traffic.latest(flowOf(b, step), b.Now):
			late |= 1 << i
		}
	}
	return skip, late
}

// flowOf identifies the traffic of a step.
func flowOf(b *ratelimit.Batch, step *ratelimit.Step) uint64 {
	return flowID(subjectOf(b, step), step.Policy)
}

// learn adds what an answer says about the traffic. before is the units that were
// spent as far as the mirror knew.
func (s *Store) learn(b *ratelimit.Batch, step *ratelimit.Step, giving bool, before int64) {
	own := int64(0)
	switch {
	case giving:
		own = -step.Give
	case step.Charged:
		own = step.Policy.CostOf(b.Cost)
	}
	others := step.Policy.Spent(step.State, b.Now) - before - own
	if step.Policy.Holds() {
		s.traffic.holders(flowOf(b, step), b.Now, others)
		return
	}
	s.traffic.answered(flowOf(b, step), step.Policy, b.Now, before, own, others)
}

// repeatSlots repeats only what has become of concurrency slots. The error is
// ErrExpired if one can't be renewed.
func (s *Store) repeatSlots(b *ratelimit.Batch, slots memory.SlotChange) error {
	var skip uint32
	holds := false
	for i := range b.Steps {
		if b.Steps[i].Policy.Holds() {
			holds = true
		} else {
			skip |= 1 << i
		}
	}
	if !holds {
		return nil
	}
	var before [ratelimit.MaxPolicies]int64
	return s.mirror.Mirror(b, slots, skip, &before)
}
