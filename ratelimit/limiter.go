package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The errors of the package. A store's failures come as they are.
var (
	// ErrCost is a cost below 0 or above MaxCost, or a commit of more than
	// was reserved.
	ErrCost = errors.New("ratelimit: cost out of range")
	// ErrSettled is a reservation that was refused, or has already been
	// committed, released or settled: there is nothing left to do.
	ErrSettled = errors.New("ratelimit: reservation already settled")
	// ErrExpired is a concurrency slot that has outlived its hold.
	ErrExpired = errors.New("ratelimit: reservation expired")
	// ErrUnknownPolicy is a reset of a policy that the quota doesn't have.
	ErrUnknownPolicy = errors.New("ratelimit: unknown policy")
)

// Limiter takes units from the counters of a store. It is safe for concurrent
// use, as its store is.
type Limiter struct {
	store Store
	clock clock
}

// Option adjusts a Limiter.
type Option func(*Limiter)

// WithClock replaces the limiter's clock. It should be monotonic: a clock that
// is set back or forward may let one extra burst through.
func WithClock(now func() time.Time) Option {
	return func(l *Limiter) { l.clock.read = now }
}

// New makes a limiter over a store.
func New(store Store, opts ...Option) *Limiter {
	l := &Limiter{store: store, clock: newClock()}
	for _, o := range opts {
		o(l)
	}
	return l
}

// Reserve takes cost units from every policy of q that applies to group, all
// or nothing, and fills r, whose Decision says whether they passed. A refused
// reservation has taken nothing and needs nothing done about it; an allowed
// one stays charged in full unless it is committed, released or settled. Cost
// 0 takes nothing and always passes.
//
// r may be used again when it is done with; up to four policies it makes
// Reserve allocate nothing, and beyond that nothing after the first time.
//
// The error is ErrCost, or the store's failure: then r.Decision allows
// nothing and has no statuses, and it isn't known whether units were taken.
func (l *Limiter) Reserve(ctx context.Context, r *Reservation, q *Quota, group string, cost int64) error {
	v := q.view(group)
	r.begin(l, q, v, cost)
	if cost < 0 || cost > MaxCost {
		return ErrCost
	}
	if len(v.policies) > 0 {
		r.batch.Now = l.clock.now()
		if v.holds {
			r.batch.Holder = int64(rand.Uint64())
		}
		if err := l.store.Take(ctx, &r.batch); err != nil {
			return err
		}
	}
	r.decide()
	return nil
}

// Peek tells where a quota stands for a group and takes nothing. It allocates
// its decision. The error is the store's failure.
func (l *Limiter) Peek(ctx context.Context, q *Quota, group string) (Decision, error) {
	var r Reservation
	err := l.Reserve(ctx, &r, q, group, 0)
	return r.Decision, err
}

// PeekAll is Peek over all policies of q, whatever their group.
func (l *Limiter) PeekAll(ctx context.Context, q *Quota) (Decision, error) {
	var r Reservation
	r.begin(l, q, q.all, 0)
	if len(q.all.policies) > 0 {
		r.batch.Now = l.clock.now()
		if err := l.store.Take(ctx, &r.batch); err != nil {
			return r.Decision, err
		}
	}
	r.decide()
	return r.Decision, nil
}

// Reset makes the named policies' counters fresh; without names, all of q's.
// Policies per owner are reset for the owner. What was reserved before the
// reset can't be given back after it. The error is ErrUnknownPolicy or the
// store's failure; in both cases nothing was reset.
func (l *Limiter) Reset(ctx context.Context, q *Quota, policies ...string) error {
	var r Reservation
	r.begin(l, q, q.all, 0)
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
	return l.store.Reset(ctx, &r.batch)
}
