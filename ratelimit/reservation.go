package ratelimit

import (
	"context"
	"sync"
	"time"
)

// inlinePolicies is how many policies a Reservation has room for itself.
const inlinePolicies = 4

// Outcome is how the work that a reservation paid for has ended.
type Outcome uint8

// The outcomes.
const (
	// Succeeded is work that was done: every charge stands.
	Succeeded Outcome = iota
	// Rejected is work that was refused for the caller's own fault: policies
	// that charge successes are given back.
	Rejected
	// Failed is work that failed without the caller's fault: everything is
	// given back.
	Failed
)

// Reservation is units taken from all policies of a quota at once. Fill it
// with [Limiter.Reserve]; the zero value is ready for that. It must not be
// copied. Its methods are safe for concurrent use, but not with Reserve, and
// they write to Decision.
//
// What was taken stays taken until Commit, Release or Settle gives some back,
// and each of these works once: whichever comes first. A reservation that is
// forgotten expires by itself, differently for each algorithm: in a
// concurrency policy the slot is freed when hold has passed; in all others
// the units stay spent, as if committed in full, and come back as time brings
// them. The same goes for one that is settled late: a refund goes to the
// window or the period that was charged, or to what has not refilled yet, or
// nowhere.
type Reservation struct {
	// Decision is the result; Commit, Release and Settle bring it up to date.
	Decision Decision

	limiter *Limiter
	batch   Batch
	holds   bool

	mu    sync.Mutex
	phase phase

	steps    [inlinePolicies]Step
	statuses [inlinePolicies]Status
}

// phase is how far a reservation has come.
type phase uint8

const (
	closed  phase = iota // nothing to give back
	charged              // units and slots are held
	running              // units are settled, slots are still held
)

// begin makes r ready for a take.
func (r *Reservation) begin(l *Limiter, q *Quota, v *view, cost int64) {
	n := len(v.policies)
	if cap(r.batch.Steps) < n {
		r.batch.Steps = r.steps[:]
		r.Decision.statuses = r.statuses[:]
		if n > inlinePolicies {
			r.batch.Steps = make([]Step, n)
			r.Decision.statuses = make([]Status, n)
		}
	}
	r.limiter, r.phase, r.holds = l, closed, v.holds
	b := &r.batch
	b.Cost, b.Holder, b.Enforced = cost, 0, v.enforced
	b.Key, b.Owner = nil, nil
	if v.perKey {
		b.Key = &q.key
	}
	if v.perOwner {
		b.Owner = &q.owner
	}
	b.Steps = b.Steps[:n]
	for i, p := range v.policies {
		// What a store sets needs no clearing; and a pointer that stays is
		// not written, for the collector would have to be told.
		if s := &b.Steps[i]; s.Policy != p {
			s.Policy = p
		}
	}
	d := &r.Decision
	d.Allowed, d.Wait, d.enforced = false, 0, 0
	d.statuses = d.statuses[:0]
}

// decide reads the decision out of a batch that was taken.
func (r *Reservation) decide() {
	b, d := &r.batch, &r.Decision
	d.Allowed, d.enforced = true, b.Enforced
	d.statuses = d.statuses[:len(b.Steps)]
	for i := range b.Steps {
		s := &b.Steps[i]
		cost := s.Policy.CostOf(b.Cost)
		st := &d.statuses[i]
		if st.Policy != s.Policy {
			st.Policy = s.Policy
		}
		s.Policy.describe(st, s.State, b.Now, cost, s.Allowed)
		if i >= b.Enforced {
			continue
		}
		d.Allowed = d.Allowed && s.Allowed
		if s.Policy.kind == leakyBucket && s.Charged {
			d.Wait = max(d.Wait, turnAfter(s.Policy, s.State, b.Now, cost))
		}
	}
	if d.Allowed && b.Cost > 0 && len(b.Steps) > 0 {
		r.phase = charged
	}
}

// Wait blocks until the reservation's turn has come in every leaky_bucket
// policy, and returns at once when there is none or the turn is now. When ctx
// ends first, or its deadline is before the turn, everything is released and
// ctx's error returned; a failure to release isn't reported.
func (r *Reservation) Wait(ctx context.Context) error {
	if r.Decision.Wait <= 0 || !r.Decision.Allowed {
		return nil
	}
	wait := r.Decision.Wait - time.Duration(r.limiter.clock.now()-r.batch.Now)
	if wait <= 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		_ = r.Release(context.WithoutCancel(ctx))
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		_ = r.Release(context.WithoutCancel(ctx))
		return ctx.Err()
	}
}

// Commit ends the reservation at its actual cost, 0 to the cost reserved, and
// gives back the rest and any concurrency slot. The error is ErrCost,
// ErrSettled or the store's failure; after the latter the reservation counts
// as settled, for the store may have done its part.
func (r *Reservation) Commit(ctx context.Context, actual int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.phase != charged:
		return ErrSettled
	case actual < 0 || actual > r.batch.Cost:
		return ErrCost
	}
	r.phase = closed
	return r.give(ctx, func(s *Step) int64 {
		if s.Policy.kind == concurrency {
			return 1
		}
		return r.batch.Cost - actual
	})
}

// Release gives back everything that isn't settled: all that was taken, or
// after SettleUnits the concurrency slots. The error is ErrSettled when there
// is nothing to give back, or the store's failure.
func (r *Reservation) Release(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.phase
	r.phase = closed
	switch was {
	case charged:
		return r.give(ctx, func(s *Step) int64 { return s.Policy.CostOf(r.batch.Cost) })
	case running:
		return r.give(ctx, freeSlot)
	default:
		return ErrSettled
	}
}

// Settle ends the reservation by its outcome and each policy's charge:
// requests keeps what Succeeded or was Rejected, successes only what
// Succeeded. Concurrency slots are freed whatever the outcome. The error is
// ErrSettled or the store's failure.
func (r *Reservation) Settle(ctx context.Context, o Outcome) error {
	return r.settle(ctx, o, closed)
}

// SettleUnits is Settle, except that concurrency slots stay held: the outcome
// of a request is known when its answer begins, but it runs until its answer
// ends. Release frees them then.
func (r *Reservation) SettleUnits(ctx context.Context, o Outcome) error {
	return r.settle(ctx, o, running)
}

func (r *Reservation) settle(ctx context.Context, o Outcome, next phase) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != charged {
		return ErrSettled
	}
	if !r.holds {
		next = closed
	}
	r.phase = next
	if o == Succeeded && (!r.holds || next == running) {
		return nil
	}
	return r.give(ctx, func(s *Step) int64 {
		switch {
		case s.Policy.kind == concurrency:
			if next == running {
				return 0
			}
			return 1
		case o == Failed || o == Rejected && s.Policy.Charge == Successes:
			return r.batch.Cost
		default:
			return 0
		}
	})
}

func freeSlot(s *Step) int64 {
	if s.Policy.kind == concurrency {
		return 1
	}
	return 0
}

// give returns units to the steps that were charged, as much to each as back
// says, and brings the decision up to date. r.mu is held.
func (r *Reservation) give(ctx context.Context, back func(*Step) int64) error {
	b := &r.batch
	any := false
	for i := range b.Steps {
		s := &b.Steps[i]
		s.Give = 0
		if s.Charged {
			s.Give = back(s)
		}
		any = any || s.Give > 0
	}
	if !any {
		return nil
	}
	b.Now = r.limiter.clock.now()
	if err := r.limiter.store.Give(ctx, b); err != nil {
		return err
	}
	for i := range b.Steps {
		if s := &b.Steps[i]; s.Give > 0 {
			s.Policy.describe(&r.Decision.statuses[i], s.State, b.Now, s.Policy.CostOf(b.Cost), true)
		}
	}
	return nil
}

// Hold is how long the reservation's concurrency slots live unless they are
// renewed: the shortest of them. It is 0 when no slot is held.
func (r *Reservation) Hold() time.Duration {
	if !r.holds { // only Reserve writes it
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == closed {
		return 0
	}
	var shortest int64
	for i := range r.batch.Steps {
		s := &r.batch.Steps[i]
		if s.Charged && s.Policy.Algorithm == Concurrency && (shortest == 0 || s.Policy.hold < shortest) {
			shortest = s.Policy.hold
		}
	}
	return time.Duration(shortest)
}

// Renew prolongs the reservation's concurrency slots by another hold from
// now: call it more often than that while the work runs. The error is
// ErrSettled when no slot is held, ErrExpired when one was lost, or the
// store's failure.
func (r *Reservation) Renew(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == closed || !r.holds {
		return ErrSettled
	}
	r.batch.Now = r.limiter.clock.now()
	return r.limiter.store.Renew(ctx, &r.batch)
}
