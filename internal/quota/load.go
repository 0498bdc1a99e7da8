package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// keyAndPlan is what one look-up reads: the key, how to check it, and the
// policies of its plan and its own.
type keyAndPlan struct {
	models.APIKey
	MAC           []byte
	PepperVersion string
	Policies      []byte // JSON: list of ratelimit.Policy
}

const keyAndPlanQuery = `
	SELECT k.id, k.name, k.plan, k.owner, k.subject, k.scopes, k.ip_allow, k.metadata,
	       k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.version,
	       k.mac, k.pepper_version, k.overrides, p.policies::text AS policies
	FROM api_keys k JOIN plans p ON p.name = k.plan
	WHERE k.id = $1`

// loader returns the load of one presented key for the cache.
func (s *Service) loader(presented string) cache.Load[*resolved] {
	return func(ctx context.Context) (*resolved, error) { return s.load(ctx, presented) }
}

// load reads key and plan in one query, checks the presented key against what
// is stored, and resolves the quota. Errors as those of Resolve.
func (s *Service) load(ctx context.Context, presented string) (*resolved, error) {
	id, err := s.check.ParseID(presented)
	if err != nil {
		return nil, err
	}
	asOf := s.changes.now() // before the query
	row, err := s.read(ctx, id)
	if errors.Is(err, models.ErrNotFound) {
		return nil, models.ErrInvalidKey
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if !s.check.Verify(presented, row.PepperVersion, row.MAC) || row.Status(now) != models.KeyActive {
		return nil, models.ErrInvalidKey
	}
	r, err := s.resolve(row, now)
	if err != nil {
		return nil, fmt.Errorf("quota of key %s: %w", id, err)
	}
	r.basis = s.changes.basis(asOf, row.ID, row.Plan)
	return r, nil
}

// read reads a key with its plan. Errors: models.ErrNotFound,
// models.ErrUnavailable.
func (s *Service) read(ctx context.Context, id string) (keyAndPlan, error) {
	rows, err := s.db.Query(ctx, keyAndPlanQuery, id)
	if err != nil {
		return keyAndPlan{}, fmt.Errorf("%w: read key: %w", models.ErrUnavailable, err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[keyAndPlan])
	if errors.Is(err, pgx.ErrNoRows) || postgres.IsUntranslatable(err) {
		return keyAndPlan{}, fmt.Errorf("key %q: %w", id, models.ErrNotFound)
	}
	if err != nil {
		return keyAndPlan{}, fmt.Errorf("%w: read key: %w", models.ErrUnavailable, err)
	}
	return row, nil
}

// Quota returns the quota of the key with this id, as it is in Postgres, and
// the key itself. Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Service) Quota(ctx context.Context, id string) (*models.APIKey, *ratelimit.Quota, error) {
	row, err := s.read(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	r, err := s.resolve(row, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("quota of key %s: %w", id, err)
	}
	return &r.key, r.quota, nil
}

// resolve lays the key's overrides that count at now over its plan's policies,
// by name, and binds them to the key's counters.
func (s *Service) resolve(row keyAndPlan, now time.Time) (*resolved, error) {
	r := &resolved{key: row.APIKey}
	subjects := ratelimit.Subjects{Key: row.Subject, Owner: row.Owner}
	if len(row.Overrides) == 0 {
		plan, err := s.compiled(row.Plan, row.Policies)
		if err != nil {
			return nil, err
		}
		r.quota = plan.For(subjects)
		return r, nil
	}
	policies, err := ratelimit.ParsePolicies(row.Policies)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", row.Plan, err)
	}
	policies, err = overlay(policies, row.Overrides, now)
	if err != nil {
		return nil, err
	}
	for _, o := range row.Overrides {
		if o.CountsAt(now) && o.ExpiresAt != nil && (r.until.IsZero() || o.ExpiresAt.Before(r.until)) {
			r.until = *o.ExpiresAt
		}
	}
	r.quota, err = ratelimit.NewQuota(policies, subjects)
	return r, err
}

// compiled returns a plan's policies, compiled and bound to nobody. Keys on the
// same plan share what is compiled, by the very text of its policies.
func (s *Service) compiled(plan string, policies []byte) (*ratelimit.Quota, error) {
	text := string(policies)
	if quota, found := s.plans.GetIfPresent(text); found {
		return quota, nil
	}
	parsed, err := ratelimit.ParsePolicies(policies)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", plan, err)
	}
	quota, err := ratelimit.NewQuota(parsed, ratelimit.Subjects{})
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", plan, err)
	}
	s.plans.Set(text, quota)
	return quota, nil
}

// overlay puts each override that counts at now in the place of the policy with
// its name, or at the end.
func overlay(policies []ratelimit.Policy, overrides []models.Override, now time.Time) ([]ratelimit.Policy, error) {
	for i, o := range overrides {
		if !o.CountsAt(now) {
			continue
		}
		parsed, err := ratelimit.ParsePolicies(slices.Concat([]byte("["), o.Policy, []byte("]")))
		if err != nil {
			return nil, fmt.Errorf("override %d: %w", i, err)
		}
		same := func(q ratelimit.Policy) bool { return q.Name == parsed[0].Name }
		if at := slices.IndexFunc(policies, same); at >= 0 {
			policies[at] = parsed[0]
		} else {
			policies = append(policies, parsed[0])
		}
	}
	return policies, nil
}
