package memory

import "ratelimiter/ratelimit"

// lockedPair is the key and the owner of a batch, looked up and locked.
type lockedPair struct {
	key, owner  lockedSubject
	first, last *shard // in locking order; equal if there is only one
	// cells is the offset of each step's counter in its subject's record.
	cells [ratelimit.MaxPolicies]cellOffset
}

// lock locks the shards of a batch's subjects and looks the subjects up. Shards
// are locked in ascending order, which prevents deadlocks between batches.
func (s *Store) lock(p *lockedPair, b *ratelimit.Batch) {
	k, o := -1, -1
	if b.Key != nil {
		k = shardOf(b.Key)
	}
	if b.Owner != nil {
		o = shardOf(b.Owner)
	}
	low, high := min(k, o), max(k, o)
	if low < 0 {
		low = high
	}
	p.first, p.last = &s.shards[low], &s.shards[high]
	p.first.lock()
	if p.last != p.first {
		p.last.lock()
	}
	if k >= 0 {
		p.key.open(&s.shards[k], b.Key)
	}
	if o >= 0 {
		p.owner.open(&s.shards[o], b.Owner)
	}
}

func shardOf(s *ratelimit.Subject) int { return int(s.Hash[0] >> (64 - shardBits)) }

// unlock returns the number of uses of the first shard.
func (p *lockedPair) unlock(now int64) (uses uint32) {
	p.first.uses++
	uses = p.first.uses
	if p.last != p.first {
		p.last.unlock(now)
	}
	p.first.unlock(now)
	return uses
}

// subjectOf returns the subject whose counter the step spends.
func (p *lockedPair) subjectOf(step *ratelimit.Step) *lockedSubject {
	if step.Policy.PerOwner() {
		return &p.owner
	}
	return &p.key
}

// take decides all steps before it writes, so that a refusal changes nothing.
func (p *lockedPair) take(b *ratelimit.Batch) error {
	admitted, ready := !b.Refused, true
	for i := range b.Steps {
		step := &b.Steps[i]
		step.Charged, step.Short = false, false
		p.cells[i] = p.subjectOf(step).check(b, step, b.Cost)
		if i < b.Enforced {
			admitted = admitted && step.Allowed
		}
		admitted = admitted && (!step.Short || i >= b.Enforced && b.IgnoreShadows)
		ready = ready && p.subjectOf(step).ready(step, p.cells[i])
	}
	if b.Cost == 0 {
		return nil
	}
	if !admitted {
		for i := range b.Steps {
			step := &b.Steps[i]
			p.subjectOf(step).uncharge(b, step, p.cells[i])
		}
		return nil
	}
	if !ready {
		if err := p.prepare(b, passes); err != nil {
			return err
		}
	}
	for i := range b.Steps {
		if step := &b.Steps[i]; passes(step) {
			p.subjectOf(step).charge(b, step, p.cells[i])
		}
	}
	return nil
}

func passes(step *ratelimit.Step) bool { return step.Allowed && !step.Short }

// give gives units back and charges debts. If a debt needs a cell that can't be
// added, it changes nothing.
func (p *lockedPair) give(b *ratelimit.Batch) error {
	ready := true
	for i := range b.Steps {
		if step := &b.Steps[i]; step.Give < 0 {
			p.cells[i] = p.subjectOf(step).rec.find(step.Policy.ID())
			ready = ready && p.subjectOf(step).ready(step, p.cells[i])
		}
	}
	if !ready {
		if err := p.prepare(b, owes); err != nil {
			return err
		}
	}
	for i := range b.Steps {
		step := &b.Steps[i]
		switch {
		case step.Give > 0:
			p.subjectOf(step).give(b, step)
		case step.Give < 0:
			p.subjectOf(step).owe(b, step, p.cells[i])
		}
	}
	return nil
}

func owes(step *ratelimit.Step) bool { return step.Give < 0 }

// prepare adds a cell for every step that will be charged and has none. It fails
// if a subject can't grow.
func (p *lockedPair) prepare(b *ratelimit.Batch, charged func(*ratelimit.Step) bool) error {
	for _, subject := range [...]*lockedSubject{&p.key, &p.owner} {
		missing, grows := 0, false
		for i := range b.Steps {
			step := &b.Steps[i]
			if charged(step) && p.subjectOf(step) == subject {
				grows = grows || !subject.ready(step, p.cells[i])
				if p.cells[i] == noCell {
					missing++
				}
			}
		}
		if grows && subject.bytes() > subject.shard.maxBytes/maxSubjectPart {
			return errTooLarge
		}
		if err := subject.ensureCells(missing); err != nil {
			return err
		}
	}
	if p.first == p.last { // growing one subject may have moved the other
		p.key.find()
		p.owner.find()
	}
	for i := range b.Steps {
		if step := &b.Steps[i]; charged(step) && p.cells[i] == noCell {
			p.cells[i] = p.subjectOf(step).addCell(step)
		}
	}
	return nil
}
