package ratelimit

import (
	"context"
	"sync"
	"time"
)

// inlinePolicies is the number of policies for which a Reservation needs no
// further allocation.
const inlinePolicies = 4

// Outcome is the result of the work that a reservation paid for.
type Outcome uint8

// Outcomes.
const (
	// Succeeded means that the work was done. All charges are kept.
	Succeeded Outcome = iota
	// Rejected means that the work was refused because of the caller. Policies
	// that charge successes give their units back.
	Rejected
	// Failed means that the work failed for another reason. All policies give
	// their units back.
	Failed
)

// Reservation is units taken from all policies of a quota at once. The zero
// value is ready for [Limiter.Reserve]. A Reservation must not be copied. Its
// methods are safe for concurrent use with each other, but not with Reserve or
// with reads of Decision, which they update.
//
// The first of Commit, Release and Settle ends a reservation and gives units
// back; SettleUnits leaves the concurrency slots to a later Release. An
// abandoned reservation frees its concurrency slots when their hold has passed
// and keeps its units spent, as if committed in full. Units that are given back
// late go to the window or period that was charged, or to the part of a bucket
// that hasn't refilled; the rest is lost.
type Reservation struct {
	// Decision is the result. Commit, Release and Settle update it.
	Decision Decision

	limiter *Limiter
	batch   Batch
	// If the request must wait: when its batch was taken, by the limiter's clock,
	// and how far the store's clock was ahead of that.
	takenAt, ahead int64
	holds          bool
	epochs         []int64 // of the steps' leases, if another process has taken them; otherwise nil

	mu    sync.Mutex
	phase phase

	steps    [inlinePolicies]Step
	statuses [inlinePolicies]Status
}

// phase is the state of a reservation.
type phase uint8

const (
	closed  phase = iota // nothing to give back
	charged              // units and slots are held
	running              // units are settled, slots are held
)

// reset prepares r for a take.
func (r *Reservation) reset(l *Limiter, q *Quota, v *view, cost int64) {
	n := len(v.policies)
	if cap(r.batch.Steps) < n {
		r.batch.Steps = r.steps[:]
		r.Decision.statuses = r.statuses[:]
		if n > inlinePolicies {
			r.batch.Steps = make([]Step, n)
			r.Decision.statuses = make([]Status, n)
		}
	}
	r.limiter, r.phase, r.holds, r.epochs = l, closed, v.holds, nil
	b := &r.batch
	b.Cost, b.Holder, b.Enforced = cost, 0, v.enforced
	b.Alone, b.Once = 0, ""
	b.Key, b.Owner = nil, nil
	if v.perKey {
		b.Key = &q.key
	}
	if v.perOwner {
		b.Owner = &q.owner
	}
	b.Steps = b.Steps[:n]
	for i, p := range v.policies {
		// The store sets the other fields. Skipping an unchanged pointer
		// avoids a write barrier.
		if s := &b.Steps[i]; s.Policy != p {
			s.Policy = p
		}
	}
	d := &r.Decision
	d.Allowed, d.Wait, d.enforced = false, 0, 0
	d.statuses = d.statuses[:0]
}

// decide derives the decision from a batch that was taken.
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
			d.Wait = max(d.Wait, queueWait(s.Policy, s.State, b.Now, cost))
		}
	}
	if d.Allowed && b.Cost > 0 && len(b.Steps) > 0 {
		r.phase = charged
	}
	if d.Wait > 0 {
		r.takenAt = r.limiter.clock.now()
		r.ahead = b.Now - r.takenAt
	}
}

// Wait blocks for Decision.Wait, until the request's turn in every leaky_bucket
// policy. If ctx is done first, Wait releases the reservation, makes Decision a
// refusal by those policies and returns ctx's error. If ctx's deadline is before
// the turn, it does so at once. An error of the release is not reported.
func (r *Reservation) Wait(ctx context.Context) error {
	if r.Decision.Wait <= 0 || !r.Decision.Allowed {
		return nil
	}
	wait := r.Decision.Wait - time.Duration(r.limiter.clock.now()-r.takenAt)
	if wait <= 0 {
		return nil
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		r.abandon(context.WithoutCancel(ctx))
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.abandon(context.WithoutCancel(ctx))
		return ctx.Err()
	}
}

// Alone reports whether the reservation was taken without the counters that are
// shared with other processes, so that only this process can settle it.
func (r *Reservation) Alone() bool { return r.batch.Alone != 0 }

// abandon gives everything back and makes Decision a refusal by the leaky_bucket
// policies whose turn hasn't come.
func (r *Reservation) abandon(ctx context.Context) {
	d, now := &r.Decision, r.limiter.clock.now()+r.ahead
	waits := make([]time.Duration, d.enforced)
	for i := range waits {
		if s := &r.batch.Steps[i]; s.Policy.kind == leakyBucket && s.Charged {
			waits[i] = queueWait(s.Policy, s.State, now, r.batch.Cost)
		}
	}
	_ = r.Release(ctx)
	d.Allowed, d.Wait = false, 0
	for i, wait := range waits {
		if wait > 0 {
			d.statuses[i].Allowed, d.statuses[i].RetryAfter = false, wait
		}
	}
}

// Commit ends the reservation at its actual cost, from 0 to MaxCost. Less than
// was reserved gives the rest back. More charges the rest to the counters now,
// as debt, whether it passes or not: buckets repay it by draining, and windows
// forget it when they end. Both free all concurrency slots. The error is ErrCost,
// ErrSettled or the store's. After the store's, the reservation is settled,
// because the store may have applied the call.
func (r *Reservation) Commit(ctx context.Context, actual int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.phase != charged:
		return ErrSettled
	case actual < 0 || actual > MaxCost:
		return ErrCost
	}
	r.phase = closed
	return r.give(ctx, true, func(*Step) int64 { return r.batch.Cost - actual })
}

// Release gives back everything that isn't settled: all units and slots, or
// after SettleUnits only the concurrency slots. The error is ErrSettled if
// nothing is left to give back, or the store's.
func (r *Reservation) Release(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.phase
	r.phase = closed
	switch was {
	case charged:
		return r.give(ctx, true, func(*Step) int64 { return r.batch.Cost })
	case running:
		return r.give(ctx, true, func(*Step) int64 { return 0 })
	default:
		return ErrSettled
	}
}

// Settle ends the reservation by outcome and each policy's charge: requests
// keeps the charge of Succeeded and Rejected, successes only that of Succeeded.
// It frees all concurrency slots. The error is ErrSettled or the store's.
func (r *Reservation) Settle(ctx context.Context, o Outcome) error {
	return r.settle(ctx, o, closed)
}

// SettleUnits is Settle without freeing the concurrency slots, which Release
// frees later. The outcome of a request is known when its response begins, but
// the request runs until its response ends.
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
	return r.give(ctx, next == closed, func(s *Step) int64 {
		if o == Failed || o == Rejected && s.Policy.Charge == Successes {
			return r.batch.Cost
		}
		return 0
	})
}

// give gives units(step) back to each step that was charged, or charges them if
// they are negative, and updates the decision. Steps of concurrency give back
// their slot instead, if slots is set. r.mu must be held.
func (r *Reservation) give(ctx context.Context, slots bool, units func(*Step) int64) error {
	b := &r.batch
	changes := false
	for i := range b.Steps {
		s := &b.Steps[i]
		s.Give = 0
		switch {
		case !s.Charged:
		case s.Policy.kind != concurrency:
			s.Give = units(s)
		case slots:
			s.Give = 1
		}
		changes = changes || s.Give != 0
	}
	if !changes && b.Once == "" {
		return nil
	}
	returnLeased := r.returnLeased()
	b.Now = r.limiter.clock.now()
	if err := r.limiter.store.Give(ctx, b); err != nil {
		return err
	}
	if !r.Alone() {
		returnLeased()
	}
	for i := range b.Steps {
		if s := &b.Steps[i]; s.Give != 0 {
			if s.Give < 0 {
				r.limiter.prefetch(b, s) // a debt is leased, too
			}
			s.Policy.describe(&r.Decision.statuses[i], s.State, b.Now, s.Policy.CostOf(b.Cost), true)
		}
	}
	return nil
}

// Hold returns the time after which the reservation's first concurrency slot
// expires unless it is renewed. It is 0 if no slot is held.
func (r *Reservation) Hold() time.Duration {
	if !r.holds { // written only by Reserve
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

// defaultLifetime is the Lifetime without a concurrency policy: the default
// hold.
const defaultLifetime = time.Minute

// Lifetime returns how long a holder should keep the reservation open: the
// longest hold of the concurrency policies that apply, shadow policies included,
// or one minute without such a policy. After that no slot is left to free.
func (r *Reservation) Lifetime() time.Duration {
	if !r.holds { // written only by Reserve
		return defaultLifetime
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var longest int64
	for i := range r.batch.Steps {
		longest = max(longest, r.batch.Steps[i].Policy.hold) // 0 except for concurrency
	}
	return time.Duration(longest)
}

// Renew extends the reservation's concurrency slots by their hold from now.
// Call it at intervals shorter than Hold while the work runs. The error is
// ErrSettled if no slot is held, ErrExpired if one was lost, or the store's.
func (r *Reservation) Renew(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == closed || !r.holds {
		return ErrSettled
	}
	r.batch.Now = r.limiter.clock.now()
	return r.limiter.store.Renew(ctx, &r.batch)
}
