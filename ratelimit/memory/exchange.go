package memory

import "ratelimiter/ratelimit"

var _ ratelimit.LeaseStore = (*Store)(nil)

// Exchange implements ratelimit.LeaseStore.
func (s *Store) Exchange(subject *ratelimit.Subject, policy *ratelimit.Compiled, now int64, change func(ratelimit.State) (ratelimit.State, bool)) (generation uint32, err error) {
	b := ratelimit.Batch{Now: now, Key: subject}
	if policy.PerOwner() {
		b.Key, b.Owner = nil, subject
	}
	step := ratelimit.Step{Policy: policy}
	var p lockedPair
	s.lock(&p, &b)
	defer p.unlock(now)
	locked := p.subjectOf(&step)
	at := locked.rec.find(policy.ID())
	var state ratelimit.State
	if locked.compatible(&step, at) {
		state, generation = locked.rec.cell(at).state(), locked.rec.cell(at).generation()
	}
	after, fresh := change(state)
	if after == state && !fresh {
		return generation, nil
	}
	if at == noCell {
		if err := locked.ensureCells(1); err != nil {
			return 0, err
		}
		at = locked.addCell(&step)
	}
	if fresh {
		locked.initCell(&step, at)
	}
	locked.prepare(&step, at).setState(after)
	step.State = after
	locked.extendIdleAt(&step)
	return locked.rec.cell(at).generation(), nil
}
