package allowance

import "ratelimiter/ratelimit"

// Epoch implements ratelimit.Allowances. The epoch is known while the counter is
// the one that the last lease was added to.
func (s *Service) Epoch(b *ratelimit.Batch, step *ratelimit.Step) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[counterOf(subjectOf(b, step), step.Policy)]
	if e == nil || e.start != step.State.At || e.generation != step.Generation {
		return 0
	}
	return e.epoch
}

// Return implements ratelimit.Allowances. The durable counter counts the units
// already: they move from one process's spent units to this one's leased units.
func (s *Service) Return(b *ratelimit.Batch, step *ratelimit.Step, epoch, units int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[counterOf(subjectOf(b, step), step.Policy)]
	if s.stopped || e == nil || epoch == 0 || e.start != step.State.At || e.epoch != epoch {
		return
	}
	taken := step.State
	_, _ = s.store.Exchange(e.subject, e.policy, e.start, func(state ratelimit.State) (ratelimit.State, bool) {
		if state.At != taken.At {
			return state, false
		}
		return e.policy.Give(state, taken, e.start, units), false
	})
}

// subjectOf returns the subject whose counter a step spends.
func subjectOf(b *ratelimit.Batch, step *ratelimit.Step) *ratelimit.Subject {
	if step.Policy.PerOwner() {
		return b.Owner
	}
	return b.Key
}
