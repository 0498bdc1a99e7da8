package memory

import (
	"errors"

	"ratelimiter/ratelimit"
)

// Errors of subjects that can't grow.
var (
	// errTooManyPolicies reports more live counters than a record can hold: 256
	// policies with different names within one period.
	errTooManyPolicies = errors.New("memory: too many policies for one subject")
	// errTooLarge reports a subject whose lists take its part of a shard.
	errTooLarge = errors.New("memory: too many entries for one subject")
)

// maxSubjectPart is the part of a shard that one subject may fill: half, which is
// 4 MiB by default. 16 policies sliding_log of the largest limit take less.
const maxSubjectPart = 2

// lockedSubject is a subject and its record while its shard is locked.
type lockedSubject struct {
	shard   *shard
	subject *ratelimit.Subject
	ref     ref
	rec     record // nil if the subject has none
}

func (s *lockedSubject) open(sh *shard, subject *ratelimit.Subject) {
	s.shard, s.subject = sh, subject
	s.find()
}

// find looks the subject up again, if the batch has one.
func (s *lockedSubject) find() {
	if s.subject != nil {
		s.ref, s.rec = s.shard.lookup(s.subject)
	}
}

// ready reports whether the step can be charged without allocating memory.
func (s *lockedSubject) ready(step *ratelimit.Step, at cellOffset) bool {
	if at == noCell {
		return false
	}
	if !step.Policy.Listed() {
		return true
	}
	c := s.rec.cell(at)
	return c.listed() && !s.shard.list(c).Full()
}

// bytes returns the memory of the subject.
func (s *lockedSubject) bytes() int {
	n := s.rec.bytes()
	for i := range s.rec.usedCells() {
		if c := s.rec.cell(cellOffset(headerWords + i*cellWords)); c.listed() {
			n += listBytes(s.shard.list(c))
		}
	}
	return n
}

// compatible reports whether the cell's state belongs to the shape of the step's
// policy. If not, the counter is fresh and a charge initializes it.
func (s *lockedSubject) compatible(step *ratelimit.Step, at cellOffset) bool {
	return at != noCell && s.rec.cell(at).fingerprint() == step.Policy.Fingerprint()
}

// check decides a step without charging it and returns the offset of its cell.
func (s *lockedSubject) check(b *ratelimit.Batch, step *ratelimit.Step, cost int64) cellOffset {
	at := s.rec.find(step.Policy.ID())
	s.checkAt(b, step, cost, at)
	return at
}

// checkAt decides a step whose cell is at at.
func (s *lockedSubject) checkAt(b *ratelimit.Batch, step *ratelimit.Step, cost int64, at cellOffset) {
	cost = step.Policy.CostOf(cost)
	if step.Policy.Listed() {
		s.checkList(b, step, cost, at)
		return
	}
	var state ratelimit.State
	compatible := s.compatible(step, at)
	if compatible {
		if c := s.rec.cell(at); c.listed() {
			state = step.Policy.ToState(s.shard.list(c))
		} else {
			state = c.state()
		}
	}
	if b.Leases && step.Policy.Leasable() {
		step.State, step.Allowed, step.Short = step.Policy.TakeLeased(state, b.Now, cost)
		return
	}
	step.State, step.Allowed = step.Policy.Take(state, b.Now, cost)
	if compatible && step.State.At < state.At { // the clock was set back
		s.convert(step, at)
		state, _ = step.Policy.Take(state, b.Now, 0)
		s.rec.cell(at).setState(state)
	}
}

// checkList is checkAt for policies whose counters are Lists.
func (s *lockedSubject) checkList(b *ratelimit.Batch, step *ratelimit.Step, cost int64, at cellOffset) {
	var temporary ratelimit.List
	list := &temporary
	if s.compatible(step, at) {
		if c := s.rec.cell(at); c.listed() {
			list = s.shard.list(c)
		} else {
			temporary = step.Policy.ToList(c.state())
		}
	}
	step.State, step.Allowed = step.Policy.CheckList(list, b.Now, cost)
}

// convert makes a compatible cell a List or a State, as the step's policy needs
// it.
func (s *lockedSubject) convert(step *ratelimit.Step, at cellOffset) {
	c := s.rec.cell(at)
	switch listed := step.Policy.Listed(); {
	case listed == c.listed():
	case listed:
		list := step.Policy.ToList(c.state())
		c[3], c[4] = listMark, s.shard.newList(s.rec)
		*s.shard.list(c) = list
		s.shard.resized(s.rec, listBytes(&list)-listBytes(new(ratelimit.List)))
	default:
		state := step.Policy.ToState(s.shard.list(c))
		s.shard.releaseList(s.rec, c)
		c.setState(state)
	}
}

// uncharge restores the state of a step that check has admitted and that isn't
// charged, because another one refuses.
func (s *lockedSubject) uncharge(b *ratelimit.Batch, step *ratelimit.Step, at cellOffset) {
	if passes(step) && !step.Policy.Listed() {
		s.checkAt(b, step, 0, at)
	}
}

// charge stores the charge of a step that check has admitted.
func (s *lockedSubject) charge(b *ratelimit.Batch, step *ratelimit.Step, at cellOffset) {
	c := s.prepare(step, at)
	if step.Policy.Listed() {
		list := s.shard.list(c)
		before := listBytes(list)
		step.State = step.Policy.AddList(list, b.Now, b.Cost, b.Holder)
		s.resized(list, before)
	} else {
		c.setState(step.State)
	}
	step.Generation, step.Charged = c.generation(), true
	s.extendIdleAt(step)
}

// owe charges the debt of a step.
func (s *lockedSubject) owe(b *ratelimit.Batch, step *ratelimit.Step, at cellOffset) {
	c := s.prepare(step, at)
	if step.Policy.Listed() {
		list := s.shard.list(c)
		before := listBytes(list)
		step.State = step.Policy.OweList(list, b.Now, -step.Give)
		s.resized(list, before)
	} else {
		step.State = step.Policy.Owe(c.state(), b.Now, -step.Give)
		c.setState(step.State)
	}
	s.extendIdleAt(step)
}

// resized records that a list may have grown from before bytes.
func (s *lockedSubject) resized(l *ratelimit.List, before int) {
	if n := listBytes(l) - before; n != 0 {
		s.shard.resized(s.rec, n)
	}
}

// prepare returns the step's cell with a counter of its policy's shape: the
// present one, converted if need be, or a fresh one.
func (s *lockedSubject) prepare(step *ratelimit.Step, at cellOffset) cell {
	switch {
	case !s.compatible(step, at):
		s.initCell(step, at)
	case s.rec.cell(at).listed() != step.Policy.Listed():
		s.convert(step, at)
	}
	return s.rec.cell(at)
}

// initCell stores a fresh counter in a cell.
func (s *lockedSubject) initCell(step *ratelimit.Step, at cellOffset) {
	c := s.rec.cell(at)
	s.shard.releaseList(s.rec, c)
	c.setState(ratelimit.State{})
	s.shard.generation++
	c[0], c[1] = step.Policy.ID(), tag(step.Policy.Fingerprint(), s.shard.generation)
	if step.Policy.Listed() {
		c[3], c[4] = listMark, s.shard.newList(s.rec)
	}
}

// extendIdleAt moves the record's idle time to at least the step's.
func (s *lockedSubject) extendIdleAt(step *ratelimit.Step) {
	s.rec.setIdleAt(max(s.rec.idleAt(), step.Policy.IdleAt(step.State)))
}

// findCharged returns the cell that the step has charged, or noCell if that
// counter no longer exists. A slot is its holder's in any counter.
func (s *lockedSubject) findCharged(step *ratelimit.Step) cellOffset {
	at := s.rec.find(step.Policy.ID())
	if !s.compatible(step, at) || s.rec.cell(at).generation() != step.Generation && !step.Policy.Holds() {
		return noCell
	}
	return at
}

func (s *lockedSubject) give(b *ratelimit.Batch, step *ratelimit.Step) {
	at := s.findCharged(step)
	if at == noCell {
		s.check(b, step, 0)
		return
	}
	s.convert(step, at)
	c := s.rec.cell(at)
	if step.Policy.Listed() {
		step.State = step.Policy.GiveList(s.shard.list(c), step.State, b.Now, step.Give, b.Holder)
		return
	}
	step.State = step.Policy.Give(c.state(), step.State, b.Now, step.Give)
	c.setState(step.State)
	s.extendIdleAt(step)
}

func (s *lockedSubject) renew(b *ratelimit.Batch, step *ratelimit.Step) bool {
	at := s.findCharged(step)
	if at == noCell {
		return false
	}
	list := s.shard.list(s.rec.cell(at))
	ok := step.Policy.RenewList(list, b.Now, b.Holder)
	step.State, _ = step.Policy.CheckList(list, b.Now, 0)
	s.extendIdleAt(step)
	return ok
}

// reset removes the step's cell. The last used cell takes its place.
func (s *lockedSubject) reset(step *ratelimit.Step) {
	at := s.rec.find(step.Policy.ID())
	if at == noCell {
		return
	}
	s.shard.releaseList(s.rec, s.rec.cell(at))
	last := cellOffset(headerWords + (s.rec.usedCells()-1)*cellWords)
	copy(s.rec.cell(at), s.rec.cell(last))
	clear(s.rec.cell(last))
}

// ensureCells creates or grows the record to have n free cells.
func (s *lockedSubject) ensureCells(n int) error {
	if n == 0 {
		return nil
	}
	if s.rec == nil {
		class, ok := classFor(n)
		if !ok {
			return errTooManyPolicies
		}
		s.ref, s.rec = s.shard.create(s.subject, class)
		return nil
	}
	if s.rec.freeCells() >= n {
		return nil
	}
	class, ok := classFor(s.rec.usedCells() + n)
	if !ok {
		return errTooManyPolicies
	}
	s.ref, s.rec = s.shard.move(s.ref, class)
	return nil
}

// addCell initializes the first free cell for the step. The record must have
// one; see ensureCells.
func (s *lockedSubject) addCell(step *ratelimit.Step) cellOffset {
	at := cellOffset(headerWords + s.rec.usedCells()*cellWords)
	s.initCell(step, at)
	return at
}
