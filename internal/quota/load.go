package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// keyAndPlan is what one look-up reads: the key, how to check it, and the
// policies of its plan and its own.
type keyAndPlan struct {
	models.APIKey
	MAC           []byte
	PepperVersion string
	Overrides     []byte // JSON: list of override
	Policies      []byte // JSON: list of ratelimit.Policy
}

// override replaces the plan's policy of the same name, or adds one.
type override struct {
	Policy    json.RawMessage `json:"policy"`
	ExpiresAt *time.Time      `json:"expires_at"` // nil: never
	Reason    string          `json:"reason"`
}

const keyAndPlanQuery = `
	SELECT k.id, k.name, k.plan, k.owner, k.subject, k.scopes, k.ip_allow, k.metadata,
	       k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.version,
	       k.mac, k.pepper_version, k.overrides::text AS overrides, p.policies::text AS policies
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
	rows, err := s.db.Query(ctx, keyAndPlanQuery, id)
	if err != nil {
		return nil, fmt.Errorf("%w: read key: %w", models.ErrUnavailable, err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[keyAndPlan])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, models.ErrInvalidKey
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read key: %w", models.ErrUnavailable, err)
	}
	now := time.Now()
	if !s.check.Verify(presented, row.PepperVersion, row.MAC) || row.Status(now) != models.KeyActive {
		return nil, models.ErrInvalidKey
	}
	r, err := resolve(row, now)
	if err != nil {
		return nil, fmt.Errorf("quota of key %s: %w", id, err)
	}
	return r, nil
}

// resolve lays the key's overrides that count at now over its plan's policies,
// by name, and binds them to the key's counters.
func resolve(row keyAndPlan, now time.Time) (*resolved, error) {
	policies, err := ratelimit.ParsePolicies(row.Policies)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", row.Plan, err)
	}
	var overrides []override
	if err := json.Unmarshal(row.Overrides, &overrides); err != nil {
		return nil, fmt.Errorf("overrides: %w", err)
	}
	r := &resolved{key: row.APIKey}
	for i, o := range overrides {
		if o.ExpiresAt != nil && !now.Before(*o.ExpiresAt) {
			continue
		}
		parsed, err := ratelimit.ParsePolicies(slices.Concat([]byte("["), o.Policy, []byte("]")))
		if err != nil {
			return nil, fmt.Errorf("override %d: %w", i, err)
		}
		policies = overlay(policies, parsed[0])
		if o.ExpiresAt != nil && (r.until.IsZero() || o.ExpiresAt.Before(r.until)) {
			r.until = *o.ExpiresAt
		}
	}
	r.quota, err = ratelimit.NewQuota(policies, ratelimit.Subjects{Key: row.Subject, Owner: row.Owner})
	return r, err
}

// overlay puts p in the place of the policy with its name, or at the end.
func overlay(policies []ratelimit.Policy, p ratelimit.Policy) []ratelimit.Policy {
	same := func(q ratelimit.Policy) bool { return q.Name == p.Name }
	if i := slices.IndexFunc(policies, same); i >= 0 {
		policies[i] = p
		return policies
	}
	return append(policies, p)
}
