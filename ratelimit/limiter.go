package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Errors of the package. Errors of a store are returned unchanged.
var (
	// ErrCost reports a cost below 0 or above MaxCost.
	ErrCost = errors.New("ratelimit: cost out of range")
	// ErrSettled reports a reservation that was refused, committed, released
	// or settled before.
	ErrSettled = errors.New("ratelimit: reservation already settled")
	// ErrExpired reports a concurrency slot that was lost because its hold
	// had passed.
	ErrExpired = errors.New("ratelimit: reservation expired")
	// ErrUnknownPolicy reports a reset of a policy that isn't in the quota.
	ErrUnknownPolicy = errors.New("ratelimit: unknown policy")
	// ErrNoLease reports that no units of a calendar policy are leased and that
	// the durable counter can't be reached, so that it is unknown whether any
	// are left.
	ErrNoLease = errors.New("ratelimit: no leased units, and the durable counter is unavailable")
)

// Limiter takes units from the counters of a store. It is safe for concurrent
// use.
type Limiter struct {
	store      Store
	clock      clock
	allowances Allowances // nil: calendar counters are in the store alone
}

// Option configures a Limiter.
type Option func(*Limiter)

// WithClock sets the limiter's clock. The clock should be monotonic: a step
// may admit one extra burst.
func WithClock(now func() time.Time) Option {
	return func(l *Limiter) { l.clock.read = now }
}

// WithAllowances makes the calendar counters durable: the limiter spends only
// units that a has leased. Its store must be the LeaseStore that a supplies.
func WithAllowances(a Allowances) Option {
	return func(l *Limiter) { l.allowances = a }
}

// New returns a limiter over store.
func New(store Store, opts ...Option) *Limiter {
	l := &Limiter{store: store, clock: newClock()}
	for _, o := range opts {
		o(l)
	}
	return l
}

// Reserve takes cost units from every policy of q that applies to group, all
// or nothing, and stores the result in r.Decision. A refused reservation has
// taken nothing and needs no cleanup. An allowed one stays charged in full
// unless it is committed, released or settled. Cost 0 is a peek: it takes
// nothing and is always allowed.
//
// r may be reused after it is settled. With a reused r, Reserve doesn't
// allocate; with a new one, it allocates only for more than four policies.
//
// The error is ErrCost, ErrNoLease or the store's. After any, r.Decision allows
// nothing and has no statuses; after the store's, it is unknown whether units
// were taken.
func (l *Limiter) Reserve(ctx context.Context, r *Reservation, q *Quota, group string, cost int64) error {
	return l.ReserveAt(ctx, r, q, group, cost, time.Time{})
}

// ReserveAt is Reserve for a caller that has just read time.Now, as a server does
// when a request begins: the clock isn't read again. Nothing may have been waited
// for since: a counter gives a reading that is older than its latest charge by
// more than Skew the units of that time again. If at is the zero time, or the
// limiter has a clock of its own by WithClock, that is read instead.
func (l *Limiter) ReserveAt(ctx context.Context, r *Reservation, q *Quota, group string, cost int64, at time.Time) error {
	v := q.view(group)
	r.reset(l, q, v, cost)
	if cost < 0 || cost > MaxCost {
		return ErrCost
	}
	if len(v.policies) > 0 {
		r.batch.Now = l.clock.at(at)
		if v.holds {
			r.batch.Holder = int64(rand.Uint64())
		}
		if err := l.take(ctx, &r.batch); err != nil {
			return err
		}
	}
	r.decide()
	if r.phase == charged {
		for i := range r.batch.Steps {
			l.prefetch(&r.batch, &r.batch.Steps[i])
		}
	}
	return nil
}

// Peek returns the decision for cost 0: the status of each policy that applies
// to group. It allocates the decision. The error is the store's.
func (l *Limiter) Peek(ctx context.Context, q *Quota, group string) (Decision, error) {
	var r Reservation
	err := l.Reserve(ctx, &r, q, group, 0)
	return r.Decision, err
}

// PeekAll is Peek over the policies of all groups.
func (l *Limiter) PeekAll(ctx context.Context, q *Quota) (Decision, error) {
	var r Reservation
	r.reset(l, q, q.all, 0)
	if len(q.all.policies) > 0 {
		r.batch.Now = l.clock.now()
		if err := l.take(ctx, &r.batch); err != nil {
			return r.Decision, err
		}
	}
	r.decide()
	return r.Decision, nil
}

// Reset makes the counters of the named policies fresh; without names, the
// counters of all policies. Policies per owner are reset for the owner. Units
// that were reserved before the reset can't be given back after it. The error
// is ErrUnknownPolicy, that of the allowances, or the store's.
func (l *Limiter) Reset(ctx context.Context, q *Quota, policies ...string) error {
	var r Reservation
	r.reset(l, q, q.all, 0)
	r.batch.Now = l.clock.now()
	if len(policies) > 0 {
		for _, name := range policies {
			if !slices.ContainsFunc(r.batch.Steps, func(s Step) bool { return s.Policy.Name == name }) {
				return fmt.Errorf("%w: %s", ErrUnknownPolicy, name)
			}
		}
		r.batch.Steps = slices.DeleteFunc(r.batch.Steps, func(s Step) bool {
			return !slices.Contains(policies, s.Policy.Name)
		})
		r.batch.Enforced = 0
	}
	if len(r.batch.Steps) == 0 {
		return nil
	}
	if l.allowances != nil {
		if err := l.allowances.Reset(ctx, &r.batch); err != nil {
			return err
		}
	}
	return l.store.Reset(ctx, &r.batch)
}
