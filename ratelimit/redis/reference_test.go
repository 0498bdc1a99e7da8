package redis_test

import (
	"math"
	"slices"

	"ratelimiter/ratelimit"
)

// reference applies the pure functions of package ratelimit to counters in a map. It
// writes what the store in the server writes: what is charged or given back, what a
// clock that was set back has moved, and logs that have dropped entries.
type reference map[counterID]*counter

type counterID struct {
	subject [2]uint64
	policy  uint64
}

type counter struct {
	untilAt    float64 // seconds; the counter is gone from then on
	listed     bool
	state      ratelimit.State
	list       ratelimit.List
	generation uint32
}

func idOf(b *ratelimit.Batch, s *ratelimit.Step) counterID {
	if s.Policy.PerOwner() {
		return counterID{b.Owner.Hash, s.Policy.ID()}
	}
	return counterID{b.Key.Hash, s.Policy.ID()}
}

// open returns a copy of the step's counter in the form that its policy needs, and the
// counter itself; nil if there is none.
func (r reference) open(b *ratelimit.Batch, s *ratelimit.Step) (_ counter, stored *counter) {
	if stored = r[idOf(b, s)]; stored != nil && stored.untilAt*1e9 < float64(b.Now) {
		stored = nil
	}
	c := counter{listed: s.Policy.Listed()}
	switch {
	case stored == nil:
	case c.listed && stored.listed:
		c = *stored
		c.list.Entries = slices.Clone(c.list.Entries)
	case c.listed:
		c.list, c.generation = s.Policy.ToList(stored.state), stored.generation
	case stored.listed:
		c.state, c.generation = s.Policy.ToState(&stored.list), stored.generation
	default:
		c = *stored
	}
	return c, stored
}

// check decides a step. keep means that the counter has to be stored although nothing
// is charged.
func (r reference) check(b *ratelimit.Batch, s *ratelimit.Step, cost int64) (c counter, keep bool) {
	cost = s.Policy.CostOf(cost)
	c, stored := r.open(b, s)
	if !c.listed {
		before := c.state.At
		c.state, s.Allowed = s.Policy.Take(c.state, b.Now, cost)
		s.State = c.state
		return c, stored != nil && c.state.At < before
	}
	last, sum := c.list.Last, c.list.Sum
	s.State, s.Allowed = s.Policy.CheckList(&c.list, b.Now, cost)
	dropped := !s.Policy.Holds() && c.list.Sum != sum
	return c, stored != nil && stored.listed && (c.list.Last < last || dropped)
}

// store stores a step's counter until it equals a fresh one, also for late callers.
func (r reference) store(b *ratelimit.Batch, s *ratelimit.Step, c counter) {
	period, extra := s.Policy.Times()
	last := float64(c.list.Last / 1000)
	var idle float64
	switch s.Policy.Algorithm {
	case ratelimit.Concurrency:
		idle = last + float64(extra.Microseconds())
	case ratelimit.TokenBucket, ratelimit.LeakyBucket:
		idle = float64(c.state.At/1000) + float64(c.state.N+1)*float64(period.Microseconds())/float64(s.Policy.Limit) + 1
	default:
		idle = float64(s.Policy.IdleAt(c.state) / 1000)
		if c.listed {
			idle = last + float64(period.Microseconds())
		}
	}
	c.untilAt = min((math.Floor((idle+float64(ratelimit.Skew.Microseconds()))/1e6/4)+1)*4, 1<<32-1)
	r[idOf(b, s)] = &c
}

func (r reference) take(b *ratelimit.Batch) {
	admitted := !b.Refused
	for i := range b.Steps {
		s := &b.Steps[i]
		s.Charged, s.Short = false, false
		r.check(b, s, b.Cost)
		admitted = admitted && (s.Allowed || i >= b.Enforced)
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		switch {
		case b.Cost > 0 && admitted && s.Allowed:
			c, _ := r.check(b, s, b.Cost)
			if c.listed {
				s.State = s.Policy.AddList(&c.list, b.Now, b.Cost, b.Holder)
			}
			s.Charged = true
			r.store(b, s, c)
		case s.Allowed && !s.Policy.Listed():
			r.keep(b, s)
		default:
			state, allowed := s.State, s.Allowed
			r.keep(b, s)
			s.State, s.Allowed = state, allowed
		}
	}
}

// keep checks a step with cost 0 and stores the counter if need be.
func (r reference) keep(b *ratelimit.Batch, s *ratelimit.Step) {
	if c, keep := r.check(b, s, 0); keep {
		r.store(b, s, c)
	}
}

func (r reference) give(b *ratelimit.Batch) {
	for i := range b.Steps {
		s := &b.Steps[i]
		c, stored := r.open(b, s)
		switch {
		case s.Give == 0:
			continue
		case s.Give < 0 && c.listed:
			s.State = s.Policy.OweList(&c.list, b.Now, -s.Give)
		case s.Give < 0:
			c.state = s.Policy.Owe(c.state, b.Now, -s.Give)
			s.State = c.state
		case stored == nil || stored.generation != s.Generation:
			r.keep(b, s)
			continue
		case c.listed:
			s.State = s.Policy.GiveList(&c.list, s.State, b.Now, s.Give, b.Holder)
		default:
			c.state = s.Policy.Give(c.state, s.State, b.Now, s.Give)
			s.State = c.state
		}
		r.store(b, s, c)
	}
}

func (r reference) renew(b *ratelimit.Batch) (err error) {
	for i := range b.Steps {
		s := &b.Steps[i]
		if !s.Policy.Holds() || !s.Charged {
			continue
		}
		c, stored := r.open(b, s)
		if stored == nil || stored.generation != s.Generation {
			s.State, _ = s.Policy.CheckList(&c.list, b.Now, 0)
			err = ratelimit.ErrExpired
			continue
		}
		if !s.Policy.RenewList(&c.list, b.Now, b.Holder) {
			err = ratelimit.ErrExpired
		}
		s.State, _ = s.Policy.CheckList(&c.list, b.Now, 0)
		r.store(b, s, c)
	}
	return err
}

func (r reference) reset(b *ratelimit.Batch) {
	for i := range b.Steps {
		delete(r, idOf(b, &b.Steps[i]))
	}
}
