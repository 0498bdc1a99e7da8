// Package limits is the rate limiting engine as a service: it decides for
// subjects of callers' own, by the policies of a plan.
package limits

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"ratelimiter/internal/quota"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Service decides checks and reservations. Its counters belong to (the caller's
// owner, plan, subject, policy) and never touch those of keys. It is safe for
// concurrent use.
type Service struct {
	limiter *ratelimit.Limiter
	plans   *quota.PlanCache
	open    *openReservations
	now     func() time.Time
	decided func(*ratelimit.Decision)
	idKey   []byte
	records Records
}

// New returns a Service that counts with limiter. Reservations expire by the
// clock now. decided is called with each decision that costs something. Ids of
// reservations are signed with idKey. With records, which may be nil, they can be
// settled on every instance with the same idKey.
func New(limiter *ratelimit.Limiter, plans *quota.PlanCache, now func() time.Time, decided func(*ratelimit.Decision), idKey []byte, records Records) *Service {
	return &Service{limiter: limiter, plans: plans, open: newOpenReservations(), now: now, decided: decided, idKey: idKey, records: records}
}

// Open returns how many reservations are open.
func (s *Service) Open() int { return s.open.count(s.now()) }

// reserve takes units and reports the decision.
func (s *Service) reserve(ctx context.Context, r *ratelimit.Reservation, quota *ratelimit.Quota, cost int64) error {
	if err := s.limiter.Reserve(ctx, r, quota, "", cost); err != nil {
		return models.LimiterFailed(err)
	}
	if cost > 0 {
		s.decided(&r.Decision)
	}
	return nil
}

// Check takes check.Cost units from the subject's counters for good, all or
// nothing. Errors: KindInvalid for an unknown plan, or one with a concurrency
// policy, whose slot nothing would free; models.ErrUnavailable.
func (s *Service) Check(ctx context.Context, check models.Check) (ratelimit.Decision, error) {
	quota, err := s.quotaFor(ctx, check)
	if err != nil {
		return ratelimit.Decision{}, err
	}
	for _, p := range quota.Policies() {
		if p.Algorithm == ratelimit.Concurrency {
			var faults models.Faults
			faults.Add("concurrency", fmt.Sprintf("has the concurrency policy %q, whose slot a check would never free: reserve instead", p.Name), "plan")
			return ratelimit.Decision{}, faults.Err()
		}
	}
	var r ratelimit.Reservation
	if err := s.reserve(ctx, &r, quota, check.Cost); err != nil {
		return ratelimit.Decision{}, err
	}
	return r.Decision, nil
}

// Reserve takes units that can be given back until expiresAt, by the id that it
// returns; the id is empty when nothing was taken. A reservation expires with
// the longest hold of its concurrency policies, otherwise after a minute, from
// its turn in a leaky bucket. An expired one stays spent, except that its
// concurrency slots are freed. Errors: as of Check, and
// KindOverloaded when too many reservations are open.
func (s *Service) Reserve(ctx context.Context, check models.Check) (d ratelimit.Decision, id string, expiresAt time.Time, err error) {
	quota, err := s.quotaFor(ctx, check)
	if err != nil {
		return d, "", expiresAt, err
	}
	now := s.now()
	if check.Cost > 0 {
		if err := s.open.takePlace(check.Owner, now); err != nil {
			return d, "", expiresAt, err
		}
		defer func() {
			if id == "" {
				s.open.leavePlace(check.Owner)
			}
		}()
	}
	r := new(ratelimit.Reservation)
	if err := s.reserve(ctx, r, quota, check.Cost); err != nil {
		return d, "", expiresAt, err
	}
	if !r.Decision.Allowed || check.Cost == 0 {
		return r.Decision, "", expiresAt, nil
	}
	lifetime := r.Decision.Wait + r.Lifetime()
	expiresAt = now.Add(lifetime)
	return r.Decision, s.keep(ctx, check.Owner, r, quota.Slot(), expiresAt, lifetime), expiresAt, nil
}

// Commit settles an owner's reservation at its actual cost. Less than was
// reserved gives the rest back; more charges the rest as debt. Errors:
// models.ErrNotFound without an open reservation of this id; KindInvalid for a
// cost out of range; models.ErrUnavailable if it may be another instance's, and
// its record can't be read.
func (s *Service) Commit(ctx context.Context, owner, id string, actual int64) error {
	r, err := s.find(ctx, owner, id)
	if err != nil {
		return err
	}
	err = r.Commit(ctx, actual)
	if errors.Is(err, ratelimit.ErrCost) {
		var faults models.Faults
		faults.Add("max", fmt.Sprintf("must be from 0 to %d", ratelimit.MaxCost), "cost")
		return faults.Err() // the reservation stays open
	}
	return s.settled(id, err)
}

// Release gives back all of an owner's reservation. Errors: models.ErrNotFound,
// models.ErrUnavailable; as of Commit.
func (s *Service) Release(ctx context.Context, owner, id string) error {
	r, err := s.find(ctx, owner, id)
	if err != nil {
		return err
	}
	return s.settled(id, r.Release(ctx))
}

// quotaFor binds the plan's policies, of which none is per owner, to the subject's
// counters, which take the owner's share of the store.
func (s *Service) quotaFor(ctx context.Context, check models.Check) (*ratelimit.Quota, error) {
	plan, err := s.plans.Quota(ctx, check.Plan)
	if errors.Is(err, models.ErrNotFound) {
		var faults models.Faults
		faults.Add("unknown", "there is no such plan", "plan")
		return nil, faults.Err()
	}
	if err != nil {
		return nil, err
	}
	// Quoted, so that different triples never make the same name.
	subject := "check " + strconv.Quote(check.Owner) + " " + strconv.Quote(check.Plan) + " " + strconv.Quote(check.Subject)
	return plan.For(ratelimit.Subjects{Key: subject, Owner: check.Owner, Slot: subject}), nil
}
