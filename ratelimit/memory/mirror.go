package memory

import "ratelimiter/ratelimit"

// SlotChange is what Mirror does with the slots of concurrency policies.
type SlotChange uint8

// Changes of slots.
const (
	TakeSlots  SlotChange = iota // adds the batch's holder to the steps that were charged
	FreeSlots                    // removes the holder from the steps with Give ≠ 0
	RenewSlots                   // extends the holder's hold
)

// Mirror repeats in s what another store has answered: b is a batch as that store
// has left it. A counter becomes what its step's State says. Where that is a
// summary of a List, units that s doesn't know are charged at b.Now, and units that
// s has too many are taken off the oldest entries. Of concurrency, s knows only the
// holders of its own batches. Steps whose bit in skip is set are left as they are.
//
// It sets before to the units of each step's counter that were spent at b.Now as
// far as s knew. Mirror doesn't look at Generation. Of a holder that can't be renewed
// the error is ErrExpired.
func (s *Store) Mirror(b *ratelimit.Batch, slots SlotChange, skip uint32, before *[ratelimit.MaxPolicies]int64) error {
	var p lockedPair
	s.lock(&p, b)
	err := p.mirror(b, slots, skip, before)
	if uses := p.unlock(b.Now); uses&(sweepEvery-1) == 0 {
		s.sweepShard(uses/sweepEvery, b.Now)
	}
	return err
}

func (p *lockedPair) mirror(b *ratelimit.Batch, slots SlotChange, skip uint32, before *[ratelimit.MaxPolicies]int64) (err error) {
	for i := range b.Steps {
		step := &b.Steps[i]
		subject := p.subjectOf(step)
		known := ratelimit.Step{Policy: step.Policy}
		at := subject.check(b, &known, 0)
		before[i] = step.Policy.Spent(known.State, b.Now)
		if skip>>i&1 == 1 || at == noCell && before[i] == step.Policy.Spent(step.State, b.Now) && !step.Policy.Holds() {
			continue
		}
		at, failure := p.cellFor(step, at)
		if failure != nil {
			return failure
		}
		switch {
		case step.Policy.Holds():
			if !subject.mirrorSlot(b, step, slots, at) {
				err = ratelimit.ErrExpired
			}
		case step.Policy.Listed():
			subject.mirrorList(b, step, slots, at)
		default:
			subject.prepare(step, at).setState(step.State)
		}
		subject.extendIdleAt(step)
	}
	return err
}

// cellFor returns the step's cell, which it adds if at is noCell.
func (p *lockedPair) cellFor(step *ratelimit.Step, at cellOffset) (cellOffset, error) {
	subject := p.subjectOf(step)
	if !subject.ready(step, at) && subject.bytes() > subject.shard.maxBytes/maxSubjectPart {
		return noCell, errTooLarge
	}
	if at != noCell {
		return at, nil
	}
	if err := subject.ensureCells(1); err != nil {
		return noCell, err
	}
	if p.first == p.last { // growing one subject may have moved the other
		p.key.find()
		p.owner.find()
	}
	return subject.addCell(step), nil
}

// mirrorList charges a log what the step was charged, and makes it hold as many
// units as the step's State says.
func (s *lockedSubject) mirrorList(b *ratelimit.Batch, step *ratelimit.Step, slots SlotChange, at cellOffset) {
	list := s.shard.list(s.prepare(step, at))
	bytes := listBytes(list)
	switch {
	case slots == TakeSlots && step.Charged:
		step.Policy.OweList(list, b.Now, step.Policy.CostOf(b.Cost))
	case slots == FreeSlots && step.Give < 0:
		step.Policy.OweList(list, b.Now, -step.Give)
	}
	state, _ := step.Policy.CheckList(list, b.Now, 0)
	if missing := step.State.N - state.N; missing > 0 {
		step.Policy.OweList(list, b.Now, missing)
	} else {
		trim(list, -missing)
	}
	s.resized(list, bytes)
}

// trim takes units off the oldest entries.
func trim(l *ratelimit.List, units int64) {
	for i := l.Head; i < len(l.Entries) && units > 0; i++ {
		n := min(units, l.Entries[i].N)
		l.Entries[i].N -= n
		l.Sum -= n
		units -= n
	}
}

// mirrorSlot changes the batch's holder of a concurrency step. It reports false if
// the holder can't be renewed.
func (s *lockedSubject) mirrorSlot(b *ratelimit.Batch, step *ratelimit.Step, slots SlotChange, at cellOffset) (ok bool) {
	ok = true
	list := s.shard.list(s.prepare(step, at))
	bytes := listBytes(list)
	switch {
	case slots == FreeSlots && step.Give != 0:
		step.Policy.GiveList(list, step.State, b.Now, step.Give, b.Holder)
	case !step.Charged:
	case slots == TakeSlots:
		step.Policy.AddList(list, b.Now, 1, b.Holder)
	case slots == RenewSlots:
		ok = step.Policy.RenewList(list, b.Now, b.Holder)
	}
	s.resized(list, bytes)
	return ok
}
