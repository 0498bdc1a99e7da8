package memory

import (
	"errors"

	"ratelimiter/ratelimit"
)

// errTooManyPolicies is a subject with more counters alive than a record can
// hold: hundreds of policies of different names within one period.
var errTooManyPolicies = errors.New("memory: too many policies of one subject")

// side is a subject and its record, while its shard is locked.
type side struct {
	shard   *shard
	subject *ratelimit.Subject
	ref     ref
	rec     record // nil while the subject has none
}

func (s *side) open(sh *shard, subject *ratelimit.Subject) {
	s.shard, s.subject = sh, subject
	s.ref, s.rec = sh.lookup(subject.Hash)
}

// understands says whether a cell holds a state that the step's policy can
// read; if not, the counter is fresh, and is begun anew when it is charged.
func (s *side) understands(step *ratelimit.Step, at cellAt) bool {
	return at != noCell && s.rec.cell(at).fingerprint() == step.Policy.Fingerprint()
}

// check decides one step without charging it, and returns where its counter
// lies.
func (s *side) check(b *ratelimit.Batch, step *ratelimit.Step, cost int64) cellAt {
	at := s.rec.find(step.Policy.ID())
	known := s.understands(step, at)
	cost = step.Policy.CostOf(cost)
	if step.Policy.Listed() {
		fresh := ratelimit.List{}
		list := &fresh
		if known {
			list = s.shard.list(s.rec.cell(at))
		}
		step.State, step.Allowed = step.Policy.CheckList(list, b.Now, cost)
		return at
	}
	var state ratelimit.State
	if known {
		state = s.rec.cell(at).state()
	}
	step.State, step.Allowed = step.Policy.Take(state, b.Now, cost)
	if known && step.State.At < state.At {
		s.rec.cell(at).setState(uncharged(step, cost))
	}
	return at
}

// uncharged is a checked step's state without the charge.
func uncharged(step *ratelimit.Step, cost int64) ratelimit.State {
	if step.Allowed && !step.Policy.Listed() {
		return step.Policy.Untake(step.State, cost)
	}
	return step.State
}

// charge writes what check has let pass.
func (s *side) charge(b *ratelimit.Batch, step *ratelimit.Step, at cellAt) {
	if !s.understands(step, at) {
		s.begin(step, at)
	}
	c := s.rec.cell(at)
	if step.Policy.Listed() {
		step.State = step.Policy.AddList(s.shard.list(c), b.Now, b.Cost, b.Holder)
	} else {
		c.setState(step.State)
	}
	step.Generation, step.Charged = c.generation(), true
	s.keep(step)
}

// begin makes the counter in a cell a fresh one.
func (s *side) begin(step *ratelimit.Step, at cellAt) {
	c := s.rec.cell(at)
	s.shard.dropList(c)
	s.shard.generation++
	c[0], c[1] = step.Policy.ID(), tag(step.Policy.Fingerprint(), s.shard.generation)
	if step.Policy.Listed() {
		c[3], c[4] = listMark, s.shard.newList()
	}
}

// keep puts off the record's idleness to the step's.
func (s *side) keep(step *ratelimit.Step) {
	s.rec.setIdleAt(max(s.rec.idleAt(), step.Policy.IdleAt(step.State)))
}

// charged is the place of the counter that a step has charged, or noCell when
// that is no more.
func (s *side) charged(step *ratelimit.Step) cellAt {
	at := s.rec.find(step.Policy.ID())
	if !s.understands(step, at) || s.rec.cell(at).generation() != step.Generation {
		return noCell
	}
	return at
}

func (s *side) give(b *ratelimit.Batch, step *ratelimit.Step) {
	at := s.charged(step)
	if at == noCell {
		s.check(b, step, 0)
		return
	}
	c := s.rec.cell(at)
	if step.Policy.Listed() {
		step.State = step.Policy.GiveList(s.shard.list(c), step.State, b.Now, step.Give, b.Holder)
		return
	}
	step.State = step.Policy.Give(c.state(), step.State, b.Now, step.Give)
	c.setState(step.State)
	s.keep(step)
}

func (s *side) renew(b *ratelimit.Batch, step *ratelimit.Step) bool {
	at := s.charged(step)
	if at == noCell {
		return false
	}
	list := s.shard.list(s.rec.cell(at))
	ok := step.Policy.RenewList(list, b.Now, b.Holder)
	step.State, _ = step.Policy.CheckList(list, b.Now, 0)
	s.keep(step)
	return ok
}

func (s *side) reset(step *ratelimit.Step) {
	if at := s.rec.find(step.Policy.ID()); at != noCell {
		s.drop(at)
	}
}

// drop takes a cell out of the record; the last one takes its place.
func (s *side) drop(at cellAt) {
	s.shard.dropList(s.rec.cell(at))
	last := cellAt(headerWords + (s.rec.used()-1)*cellWords)
	copy(s.rec.cell(at), s.rec.cell(last))
	clear(s.rec.cell(last))
}

// reserve sees to it that the record has room for n more cells.
func (s *side) reserve(n int, now int64) error {
	if s.rec == nil {
		class, ok := classFor(n)
		if !ok {
			return errTooManyPolicies
		}
		s.ref, s.rec = s.shard.create(s.subject.Hash, class, now)
		return nil
	}
	if s.rec.room() >= n {
		return nil
	}
	class, ok := classFor(s.rec.used() + n)
	if !ok {
		return errTooManyPolicies
	}
	s.ref, s.rec = s.shard.move(s.ref, class)
	return nil
}

// add makes a fresh counter for a step; reserve has made room.
func (s *side) add(step *ratelimit.Step) cellAt {
	at := cellAt(headerWords + s.rec.used()*cellWords)
	s.begin(step, at)
	return at
}
