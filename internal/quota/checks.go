package quota

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Checks is the engine as a service: it decides for callers that protect
// something else, by the policies of a plan and on counters of their own, which
// belong to (the caller's owner, plan, subject, policy) and never touch a key's.
type Checks struct {
	db      *pgxpool.Pool
	limiter *ratelimit.Limiter
	plans   *cache.Aside[string, *checkPlan]
	changes changes
	open    *openReservations
	now     func() time.Time
	calm    *Calm
}

// Bounds of the cache of plans: a plan is some KB, and there are few.
const (
	maxPlans         = 1_000
	maxNegativePlans = 1_000
)

// checkPlan is what the cache holds of a plan: its policies, bound to nobody.
type checkPlan struct {
	quota  *ratelimit.Quota
	shadow shadowed // of quota
	basis  basis
}

// errNoPlan is a plan that there is none of.
var errNoPlan = errors.New("there is no such plan")

// NewChecks returns Checks whose plans are read from db and whose counters are
// the limiter's. now is the clock by which reservations expire. While calm is
// on, nothing is refused. Close it when its owner ends.
func NewChecks(db *pgxpool.Pool, limiter *ratelimit.Limiter, calm *Calm, cfg Config, now func() time.Time) (*Checks, error) {
	plans, err := cache.NewAside[string](cache.Options[*checkPlan]{
		Size: maxPlans, LoadTimeout: loadTimeout, TTL: cfg.TTL, Stale: cfg.Stale,
		Negative:     func(err error) bool { return errors.Is(err, errNoPlan) },
		NegativeSize: maxNegativePlans, NegativeTTL: negativeTTL,
		Valid: func(p *checkPlan) bool { return p.basis.stands() },
	})
	if err != nil {
		return nil, err
	}
	return &Checks{db: db, limiter: limiter, plans: plans, calm: calm, open: newOpenReservations(), now: now}, nil
}

// Check takes check.Cost units of the subject's counters and keeps them, all or
// nothing. Errors: *models.InvalidError for an unknown plan, or one with a
// concurrency policy, whose slot nothing would free; models.ErrUnavailable.
func (s *Checks) Check(ctx context.Context, check models.Check) (ratelimit.Decision, error) {
	quota, err := s.quotaFor(ctx, check)
	if err != nil {
		return ratelimit.Decision{}, err
	}
	for _, p := range quota.Policies() {
		if p.Algorithm == ratelimit.Concurrency {
			var faults models.Faults
			faults.Body("/plan", "concurrency", fmt.Sprintf("has the concurrency policy %q, whose slot nothing would free: use /v1/limits/reserve", p.Name))
			return ratelimit.Decision{}, faults.Err()
		}
	}
	var r ratelimit.Reservation
	if err := s.limiter.Reserve(ctx, &r, quota, "", check.Cost); err != nil {
		return ratelimit.Decision{}, fmt.Errorf("%w: limiter: %w", models.ErrUnavailable, err)
	}
	return r.Decision, nil
}

// Reserve is Check, except that what it takes can be given back: until expiresAt
// by the id that it returns, which is empty when nothing was taken. A
// reservation that is forgotten stays spent, and frees its concurrency slots.
// Errors as of Check, and *models.StatusError when too many are open.
func (s *Checks) Reserve(ctx context.Context, check models.Check) (d ratelimit.Decision, id string, expiresAt time.Time, err error) {
	quota, err := s.quotaFor(ctx, check)
	if err != nil {
		return d, "", expiresAt, err
	}
	now := s.now()
	if err := s.open.room(check.Owner, now); err != nil {
		return d, "", expiresAt, err
	}
	r := new(ratelimit.Reservation)
	if err := s.limiter.Reserve(ctx, r, quota, "", check.Cost); err != nil {
		return d, "", expiresAt, fmt.Errorf("%w: limiter: %w", models.ErrUnavailable, err)
	}
	if !r.Decision.Allowed || check.Cost == 0 { // nothing to give back
		return r.Decision, "", expiresAt, nil
	}
	expiresAt = now.Add(r.Decision.Wait + life(quota))
	return r.Decision, s.open.add(check.Owner, r, expiresAt), expiresAt, nil
}

// Commit ends an owner's reservation at its actual cost, and gives the rest
// back. Errors: models.ErrNotFound when there is none open of that id;
// *models.InvalidError when actual is more than was reserved.
func (s *Checks) Commit(ctx context.Context, owner, id string, actual int64) error {
	r, err := s.open.get(owner, id, s.now())
	if err != nil {
		return err
	}
	err = r.Commit(ctx, actual)
	if errors.Is(err, ratelimit.ErrCost) {
		var faults models.Faults
		faults.Body("/cost", "max", "must be at most what was reserved")
		return faults.Err() // it stays open
	}
	return s.ended(owner, id, err)
}

// Release gives all of an owner's reservation back. Error: models.ErrNotFound
// when there is none open of that id.
func (s *Checks) Release(ctx context.Context, owner, id string) error {
	r, err := s.open.get(owner, id, s.now())
	if err != nil {
		return err
	}
	return s.ended(owner, id, r.Release(ctx))
}

// ended forgets a reservation. One that somebody else ended meanwhile is not
// found.
func (s *Checks) ended(owner, id string, err error) error {
	s.open.remove(owner, id)
	switch {
	case errors.Is(err, ratelimit.ErrSettled):
		return models.ErrNotFound
	case err != nil:
		return fmt.Errorf("%w: limiter: %w", models.ErrUnavailable, err)
	default:
		return nil
	}
}

// InvalidatePlan makes this instance forget what it knows of a plan: it was
// changed.
func (s *Checks) InvalidatePlan(name string) {
	s.changes.mark(s.changes.plan(name))
	s.plans.Invalidate()
}

// InvalidateAll does the same for every plan.
func (s *Checks) InvalidateAll() {
	s.changes.markAll()
	s.plans.Invalidate()
}

// Close ends the loads under way.
func (s *Checks) Close() { s.plans.Close() }

// quotaFor binds the plan's policies to the subject's counters.
func (s *Checks) quotaFor(ctx context.Context, check models.Check) (*ratelimit.Quota, error) {
	plan, err := s.plans.Get(ctx, check.Plan, time.Now(), func(ctx context.Context) (*checkPlan, error) {
		return s.loadPlan(ctx, check.Plan)
	})
	if errors.Is(err, errNoPlan) {
		var faults models.Faults
		faults.Body("/plan", "unknown", "there is no such plan")
		return nil, faults.Err()
	}
	if err != nil {
		return nil, err
	}
	// Quoted, so that no owner, plan and subject read like three others.
	subject := "check " + strconv.Quote(check.Owner) + " " + strconv.Quote(check.Plan) + " " + strconv.Quote(check.Subject)
	quota := plan.quota
	if s.calm.On() {
		quota = plan.shadow.of(quota)
	}
	return quota.For(ratelimit.Subjects{Key: subject, Owner: subject}), nil
}

// loadPlan reads a plan's policies, bound to nobody yet.
func (s *Checks) loadPlan(ctx context.Context, name string) (*checkPlan, error) {
	plan := &checkPlan{basis: s.changes.basis(s.changes.now(), "", name)} // before the query
	var text []byte
	err := s.db.QueryRow(ctx, `SELECT policies FROM plans WHERE name = $1`, name).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNoPlan
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read plan: %w", models.ErrUnavailable, err)
	}
	policies, err := ratelimit.ParsePolicies(text)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", name, err)
	}
	for i := range policies {
		policies[i].Group = "" // groups are of our own routes; the caller's plan applies as a whole
	}
	plan.quota, err = ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "nobody", Owner: "nobody"})
	return plan, err
}
