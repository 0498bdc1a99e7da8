package fallback

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

// reportTimeout bounds a report. No request waits for it, and a server that was
// restarted answers slowly at first.
const reportTimeout = 250 * time.Millisecond

// report sends what a stripe's ledger holds to the shared store. A call that fails is
// not repeated, because it may have taken effect. If a peek is answered after it, the
// others are sent: other processes may return before this one and spend what isn't
// reported. Otherwise they stay in the ledger.
//
// A stripe is reported by one caller at a time: the other must not find an empty
// ledger, and return to the shared store, before what was in it is charged.
func (s *Store) report(ctx context.Context, st *stripe) error {
	select {
	case st.reporting <- struct{}{}:
		defer func() { <-st.reporting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for more := true; more; {
		st.mu.Lock()
		var debts []*debt
		var later []*ratelimit.Batch
		debts, later, more = s.closeLedger(st)
		st.mu.Unlock()
		if err := s.send(ctx, st, debts, later); err != nil {
			if ctx.Err() != nil || s.probe(ctx) != nil {
				return err
			}
			more = true
		}
	}
	return nil
}

// send sends what a ledger held.
func (s *Store) send(ctx context.Context, st *stripe, debts []*debt, later []*ratelimit.Batch) error {
	for i, b := range later {
		if err := ctx.Err(); err != nil {
			s.keep(st, debts, later[i:])
			return err
		}
		if err := s.deliver(ctx, b); err != nil {
			s.keep(st, debts, later[i+1:])
			return err
		}
	}
	for len(debts) > 0 {
		if err := ctx.Err(); err != nil {
			s.keep(st, debts, nil)
			return err
		}
		n := 1
		for n < min(len(debts), ratelimit.MaxPolicies) && debts[n].subject.Hash == debts[0].subject.Hash {
			n++
		}
		err := s.charge(ctx, st, debts[:n])
		s.totals.debts.Add(-int64(n))
		if debts = debts[n:]; err != nil {
			s.keep(st, debts, nil)
			return err
		}
	}
	return nil
}

// maxClosed bounds how many debts are closed at a time, which takes about a
// millisecond, while the stripe's requests wait.
const maxClosed = 1000

// closeLedger returns what the ledger holds, in the order of subjects, and begins
// the next one. more reports that it may hold more. While the stripe is alone, it
// keeps how many slots it may hold. st.mu is held.
func (s *Store) closeLedger(st *stripe) (debts []*debt, later []*ratelimit.Batch, more bool) {
	if len(st.debts) == 0 && len(st.later) == 0 {
		return nil, nil, false
	}
	later, st.later = st.later, nil
	if st.number++; st.number == 0 {
		st.number = 1
	}
	now := s.o.Clock() + s.ahead.Load()
	for key, d := range st.debts {
		if more = len(debts) == maxClosed; more {
			break
		}
		switch {
		case !d.policy.Holds():
			s.closeDebt(st, d, now)
			debts = append(debts, d)
		case s.alone(st):
			continue
		default:
			s.totals.debts.Add(-1)
		}
		delete(st.debts, key)
	}
	slices.SortFunc(debts, func(a, b *debt) int {
		return cmp.Or(cmp.Compare(a.subject.Hash[0], b.subject.Hash[0]), cmp.Compare(a.subject.Hash[1], b.subject.Hash[1]))
	})
	return debts, later, more
}

// closeDebt determines what is due. It must be done before an answer of the shared
// store, which doesn't know of the debt, is repeated in the mirror. st.mu is held.
func (s *Store) closeDebt(st *stripe, d *debt, now int64) {
	var steps [1]ratelimit.Step
	b := batchOf([]*debt{d}, steps[:])
	b.Now = now
	var present [ratelimit.MaxPolicies]ratelimit.State
	if s.peek(st, &b, &present) == nil {
		d.close(present[0], now)
	}
}

// batchOf returns a batch of the counters of debts of one subject.
func batchOf(group []*debt, steps []ratelimit.Step) ratelimit.Batch {
	b := ratelimit.Batch{Steps: steps[:len(group)]}
	for i, d := range group {
		b.Steps[i].Policy = d.policy
		if d.policy.PerOwner() {
			b.Owner = &d.subject
		} else {
			b.Key = &d.subject
		}
	}
	return b
}

// deliver gives back a batch that was settled alone. A call that has begun isn't
// canceled, because its effect would be unknown.
func (s *Store) deliver(ctx context.Context, b *ratelimit.Batch) error {
	s.totals.later.Add(-1)
	b.Now = s.o.Clock()
	err := s.call(context.WithoutCancel(ctx), b, reportTimeout, ratelimit.Store.Give)
	if isAnswer(err) {
		return nil
	}
	s.totals.lostGives.Add(1)
	return err
}

// charge charges debts of one subject to the shared store, and repeats the answer
// in the mirror unless the stripe is alone.
func (s *Store) charge(ctx context.Context, st *stripe, group []*debt) error {
	b := batchOf(group, make([]ratelimit.Step, len(group)))
	total := int64(0)
	for i, d := range group {
		b.Steps[i].Give = -d.due
		total += d.due
	}
	if total == 0 {
		return nil
	}
	b.Now = s.o.Clock()
	if err := s.call(context.WithoutCancel(ctx), &b, reportTimeout, ratelimit.Store.Give); err != nil {
		s.totals.dropped.Add(total)
		return err
	}
	s.totals.reported.Add(total)
	st.mu.Lock()
	defer st.mu.Unlock()
	if !s.alone(st) { // otherwise others may not have reported yet
		s.adopt(st, &b)
	}
	return nil
}

// keep puts what wasn't tried back into the ledger.
func (s *Store) keep(st *stripe, debts []*debt, later []*ratelimit.Batch) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.later = append(later, st.later...)
	for _, d := range debts {
		key := counterKey{d.subject.Hash, d.policy.ID()}
		if newer := st.debts[key]; newer != nil {
			newer.due += d.due
			s.totals.debts.Add(-1)
		} else {
			st.debts[key] = d
		}
	}
	s.record()
}
