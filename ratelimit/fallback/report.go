package fallback

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"ratelimiter/ratelimit"
)

// report tells the shared store what a stripe's ledger holds. A call that fails is
// not repeated, because it may have taken effect; what wasn't tried stays in the
// ledger.
func (s *Store) report(ctx context.Context, st *stripe) error {
	st.mu.Lock()
	debts, later := s.closeLedger(st)
	st.mu.Unlock()
	for i, b := range later {
		if err := s.deliver(ctx, b); err != nil {
			s.keep(st, debts, later[i+1:])
			return err
		}
	}
	for _, group := range bySubject(debts) {
		err := s.charge(ctx, st, group)
		for _, d := range group {
			delete(debts, counterKey{d.subject.Hash, d.policy.ID()})
			s.totals.debts.Add(-1)
		}
		if err != nil {
			s.keep(st, debts, nil)
			return err
		}
	}
	return nil
}

// closeLedger returns what the ledger holds and begins the next one. While the
// stripe is alone, it keeps how many slots it may hold. st.mu is held.
func (s *Store) closeLedger(st *stripe) (debts map[counterKey]*debt, later []*ratelimit.Batch) {
	if len(st.debts) == 0 && len(st.later) == 0 {
		return nil, nil
	}
	debts, later = st.debts, st.later
	if debts == nil {
		debts = map[counterKey]*debt{}
	}
	st.debts, st.later = map[counterKey]*debt{}, nil
	if st.number++; st.number == 0 {
		st.number = 1
	}
	for key, d := range debts {
		if !d.policy.Holds() {
			continue
		}
		delete(debts, key)
		if s.alone(st) {
			st.debts[key] = d
		} else {
			s.totals.debts.Add(-1)
		}
	}
	return debts, later
}

// deliver gives back a batch that was settled alone.
func (s *Store) deliver(ctx context.Context, b *ratelimit.Batch) error {
	s.totals.later.Add(-1)
	b.Now = s.o.Clock()
	err := s.call(ctx, b, ratelimit.Store.Give)
	if isAnswer(err) {
		return nil
	}
	s.totals.lostGives.Add(1)
	return err
}

// charge charges debts of one subject to the shared store, and repeats the answer
// in the mirror.
func (s *Store) charge(ctx context.Context, st *stripe, group []*debt) error {
	now := s.o.Clock()
	b := ratelimit.Batch{Now: now + s.ahead.Load(), Steps: make([]ratelimit.Step, len(group))}
	for i, d := range group {
		b.Steps[i].Policy = d.policy
		if d.policy.PerOwner() {
			b.Owner = &d.subject
		} else {
			b.Key = &d.subject
		}
	}
	var present [ratelimit.MaxPolicies]ratelimit.State
	st.mu.Lock()
	err := s.peek(&b, &present)
	st.mu.Unlock()
	if err != nil {
		return err
	}
	total := int64(0)
	for i, d := range group {
		units := d.due(present[i], b.Now)
		b.Steps[i].Give = -units
		total += units
	}
	if total == 0 {
		return nil
	}
	b.Now = now
	if err := s.call(ctx, &b, ratelimit.Store.Give); err != nil {
		s.totals.dropped.Add(total)
		return err
	}
	s.totals.reported.Add(total)
	s.answered(&b, now)
	st.mu.Lock()
	defer st.mu.Unlock()
	s.adopt(st, &b)
	return nil
}

// keep puts what wasn't reported back into the ledger.
func (s *Store) keep(st *stripe, debts map[counterKey]*debt, later []*ratelimit.Batch) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.later = append(later, st.later...)
	for key, newer := range st.debts {
		if d := debts[key]; d != nil {
			d.merge(newer)
			s.totals.debts.Add(-1)
		} else {
			debts[key] = newer
		}
	}
	st.debts = debts
	s.record()
}

// merge adds a later debt of the same counter.
func (d *debt) merge(newer *debt) {
	d.units += newer.units
	if d.log != nil && newer.log != nil {
		for _, e := range newer.log.Entries[newer.log.Head:] {
			d.policy.OweList(d.log, e.At, e.N)
		}
	}
}

// bySubject groups debts by subject, so that one call charges up to MaxPolicies.
func bySubject(debts map[counterKey]*debt) (groups [][]*debt) {
	all := make([]*debt, 0, len(debts))
	for _, d := range debts {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *debt) int { return bytes.Compare(a.order(), b.order()) })
	for from, i := 0, 1; i <= len(all); i++ {
		if i == len(all) || all[i].subject.Hash != all[from].subject.Hash || i-from == ratelimit.MaxPolicies {
			groups = append(groups, all[from:i])
			from = i
		}
	}
	return groups
}

func (d *debt) order() []byte {
	key := binary.BigEndian.AppendUint64(nil, d.subject.Hash[0])
	return binary.BigEndian.AppendUint64(key, d.subject.Hash[1])
}
