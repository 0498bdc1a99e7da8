package fallback

import (
	"context"
	"math"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// takeAlone decides a batch in the mirror. Each step that it charges is charged for
// the other processes, too, as if they spent in proportion to their traffic; see
// debt.others. st.mu is held.
func (s *Store) takeAlone(st *stripe, b *ratelimit.Batch) error {
	b.Alone = st.number
	s.totals.alone.Add(1)
	var base [ratelimit.MaxPolicies]ratelimit.State
	if err := s.peek(st, b, &base); err != nil {
		return err
	}
	var room [ratelimit.MaxPolicies]int64 // slots that this process may take
	refused := b.Refused
	for i := range b.Steps {
		b.Steps[i].Others, room[i] = 0, math.MaxInt64
		if b.Steps[i].Policy.Holds() {
			room[i] = s.slots(st, b, &b.Steps[i], base[i]) - base[i].N
			b.Refused = b.Refused || i < b.Enforced && room[i] <= 0 && b.Cost > 0
		}
	}
	err := s.mirror.Take(context.Background(), b)
	b.Refused = refused
	if err != nil {
		return err
	}
	for i := range b.Steps {
		step := &b.Steps[i]
		if step.Policy.Holds() {
			step.Allowed = step.Allowed && (room[i] > 0 || b.Cost == 0)
			step.State.N = max(step.State.N, step.Policy.Capacity()-max(0, room[i]-step.State.N+base[i].N))
		}
		if step.Charged {
			s.charged(st, b, step, base[i])
		}
	}
	s.oweOthers(st, b)
	return nil
}

// copy makes st.local a copy of a batch. st.mu is held.
func (st *stripe) copy(b *ratelimit.Batch) *ratelimit.Batch {
	st.local = *b
	st.local.Steps = append(st.steps[:0], b.Steps...)
	return &st.local
}

// peek sets base to the states of a batch's counters in the mirror. st.mu is held.
func (s *Store) peek(st *stripe, b *ratelimit.Batch, base *[ratelimit.MaxPolicies]ratelimit.State) error {
	peek := st.copy(b)
	peek.Cost = 0
	err := s.mirror.Take(context.Background(), peek)
	for i := range peek.Steps {
		base[i] = peek.Steps[i].State
	}
	return err
}

// slots returns how many slots of a concurrency policy this process may hold: those
// that it holds at its first decision alone, and its share of what was free then.
// One is always allowed, so that no process is stuck while others hold all. st.mu
// is held.
func (s *Store) slots(st *stripe, b *ratelimit.Batch, step *ratelimit.Step, held ratelimit.State) int64 {
	if d := st.debts[keyOf(b, step)]; d != nil && d.policy.Capacity() == step.Policy.Capacity() {
		return d.slots
	}
	share, others := s.traffic.share(flowOf(b, step), step.Policy, held.N, s.o.Instances())
	free := max(0, step.Policy.Capacity()-held.N-others)
	return max(1, held.N+int64(share*float64(free)))
}

// charged records a step that was charged alone, on top of base. st.mu is held.
func (s *Store) charged(st *stripe, b *ratelimit.Batch, step *ratelimit.Step, base ratelimit.State) {
	cost := step.Policy.CostOf(b.Cost)
	d := s.debt(st, b, step, base, cost)
	if step.Policy.Holds() {
		if d.policy != step.Policy {
			d.slots, d.policy = s.slots(st, b, step, base), step.Policy
		}
		return
	}
	d.add(b.Now, cost)
	s.totals.admitted.Add(cost)
	step.Others = d.others(cost)
}

// oweOthers charges the mirror for other processes, and sets the states of the
// steps to what is left then. st.mu is held.
func (s *Store) oweOthers(st *stripe, b *ratelimit.Batch) {
	owe := st.copy(b)
	for i := range owe.Steps {
		owe.Steps[i].Give = -owe.Steps[i].Others
	}
	if s.mirror.Give(context.Background(), owe) != nil {
		return // the largest subjects only
	}
	for i := range b.Steps {
		step, after := &b.Steps[i], owe.Steps[i].State
		switch {
		case step.Others == 0, step.Policy.Algorithm == ratelimit.LeakyBucket: // the turn of the request itself
		case step.Policy.Listed():
			step.State = ratelimit.State{At: step.State.At, N: after.N, M: after.M, X: after.X}
		default:
			step.State = after
		}
	}
}

// giveAlone settles a batch in the mirror. Debts are recorded in the ledger. Units
// that were taken alone and aren't reported yet are taken off the ledger; those
// that were taken from the shared store are given back to it later. st.mu is held.
func (s *Store) giveAlone(st *stripe, b *ratelimit.Batch) error {
	if err := s.repeatSlots(b, memory.FreeSlots); err != nil {
		return err
	}
	if b.Alone == 0 {
		s.giveLater(st, b, false)
	}
	var base [ratelimit.MaxPolicies]ratelimit.State
	if err := s.peek(st, b, &base); err != nil {
		return err
	}
	local := st.copy(b)
	for i := range local.Steps {
		step := &local.Steps[i]
		units := step.Give
		step.Give = 0
		if step.Policy.Holds() {
			continue
		}
		switch d := st.debts[keyOf(b, step)]; {
		case units < 0:
			d = s.debt(st, b, step, base[i], -units)
			d.add(b.Now, -units)
			step.Give = units - d.others(-units)
		case units > 0 && b.Alone == st.number && d != nil:
			d.giveBack(step.State, b.Now, units)
			s.totals.admitted.Add(-units)
			if step.Policy.Algorithm == ratelimit.LeakyBucket {
				step.State = step.Policy.Owe(step.State, step.State.At, step.Others)
			}
			step.Give = units + int64(float64(step.Others)*(float64(units)/float64(max(1, b.Cost))))
		}
	}
	err := s.mirror.Give(context.Background(), local)
	for i := range b.Steps {
		switch {
		case b.Steps[i].Give == 0:
		case local.Steps[i].Give != 0:
			b.Steps[i].State = local.Steps[i].State
		default:
			b.Steps[i].State = base[i]
		}
	}
	return err
}
