package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// keyAndPlan is the result of one lookup: a key, how to verify it, and the
// policies of its plan.
type keyAndPlan struct {
	models.APIKey
	MAC           []byte
	PepperVersion string
	Policies      string // JSON
}

const keyAndPlanQuery = `
	SELECT k.id, k.name, k.plan, k.owner, k.subject, k.scopes, k.ip_allow, k.metadata,
	       k.created_at, k.expires_at, k.suspended_at, k.revoked_at, k.last_used_at, k.version,
	       k.mac, k.pepper_version, k.overrides, p.policies::text AS policies
	FROM api_keys k JOIN plans p ON p.name = k.plan
	WHERE k.id = ANY($1)`

// loader returns the cache's load function for one presented key.
func (r *Resolver) loader(presented string) cache.Load[*resolved] {
	return func(ctx context.Context) (*resolved, error) { return r.load(ctx, presented) }
}

// load reads key and plan in one query, verifies the presented key and resolves
// the quota. Errors: as of Resolve.
func (r *Resolver) load(ctx context.Context, presented string) (*resolved, error) {
	id, err := r.verifier.ParseID(presented)
	if err != nil {
		return nil, err
	}
	at := r.generations.now() // before the query
	row, err := r.reads.read(ctx, id)
	if errors.Is(err, models.ErrNotFound) {
		r.verifier.Verify(presented, "", nil) // takes the time that a wrong secret takes
		return nil, models.ErrInvalidKey
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	// A suspended key is cached like an active one: its calls cost no query.
	if !r.verifier.Verify(presented, row.PepperVersion, row.MAC) || errors.Is(row.Usable(now), models.ErrInvalidKey) {
		return nil, models.ErrInvalidKey
	}
	entry, err := r.share(row, now)
	if err != nil {
		return nil, unreadable("quota of key "+id, err)
	}
	entry.snapshot = r.generations.snapshot(at, row.ID, row.Plan)
	return entry, nil
}

// readKeys reads keys with their plans. Unknown ids are left out. Errors:
// models.ErrUnavailable.
func readKeys(ctx context.Context, db *pgxpool.Pool, ids ...string) ([]keyAndPlan, error) {
	rows, err := db.Query(ctx, keyAndPlanQuery, ids)
	if err != nil {
		return nil, unavailable(err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByName[keyAndPlan])
	if err = postgres.Classify("read keys", err); errors.Is(err, models.ErrNotFound) {
		return nil, nil // an id that Postgres can't store
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return keys, nil
}

// read reads a key with its plan. Errors: models.ErrNotFound,
// models.ErrUnavailable.
func read(ctx context.Context, db *pgxpool.Pool, id string) (keyAndPlan, error) {
	keys, err := readKeys(ctx, db, id)
	switch {
	case err != nil:
		return keyAndPlan{}, err
	case len(keys) == 0:
		return keyAndPlan{}, models.ErrNotFound
	}
	return keys[0], nil
}

// unavailable makes any failure of the lookup one of availability: an
// authentication that can't be decided is no fault of the request.
func unavailable(err error) error { return fmt.Errorf("%w: read key: %w", models.ErrUnavailable, err) }

// unreadable makes a fault of a stored policy one of availability: an operator
// must repair it.
func unreadable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", models.ErrUnavailable, what, err)
}

// Quota returns the key with this id and its quota, read from Postgres. Errors:
// models.ErrNotFound, models.ErrUnavailable.
func (r *Resolver) Quota(ctx context.Context, id string) (*models.APIKey, *ratelimit.Quota, error) {
	return ReadQuota(ctx, r.db, id)
}

// ResolveID is Resolve for a key whose presenter is known otherwise, such as by a
// ticket. It reads from Postgres. Errors: those of Resolve.
func (r *Resolver) ResolveID(ctx context.Context, id string, now time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	key, quota, err := r.Quota(ctx, id)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, nil, models.ErrInvalidKey
	case err != nil:
		return nil, nil, err
	}
	if err := key.Usable(now); err != nil {
		return nil, nil, err
	}
	if r.mode.Shadow() {
		quota = new(shadowQuota).of(quota, nil)
	}
	return key, quota, nil
}

// ReadQuota is Resolver.Quota for programs without a Resolver.
func ReadQuota(ctx context.Context, db *pgxpool.Pool, id string) (*models.APIKey, *ratelimit.Quota, error) {
	row, err := read(ctx, db, id)
	if err != nil {
		return nil, nil, err
	}
	quota, err := compile(&row, time.Now())
	if err != nil {
		return nil, nil, unreadable("quota of key "+id, err)
	}
	return &row.APIKey, quota.For(subjectsOf(&row.APIKey)), nil
}

// share returns a cache entry of what a request needs: what only operators see
// is left out, and the policies are shared.
func (r *Resolver) share(row keyAndPlan, now time.Time) (*resolved, error) {
	shared, err := r.shared.acquire(contentOf(&row, now), func() (*ratelimit.Quota, error) { return compile(&row, now) })
	if err != nil {
		return nil, err
	}
	entry := &resolved{key: row.APIKey, shared: shared, quota: shared.quota.For(subjectsOf(&row.APIKey))}
	for _, o := range row.Overrides {
		if o.ActiveAt(now) && o.ExpiresAt != nil && (entry.until.IsZero() || o.ExpiresAt.Before(entry.until)) {
			entry.until = *o.ExpiresAt
		}
	}
	entry.key.Name, entry.key.Metadata, entry.key.Overrides, entry.key.LastUsedAt = "", nil, nil, nil
	return entry, nil
}

func subjectsOf(key *models.APIKey) ratelimit.Subjects {
	return ratelimit.Subjects{Key: key.Subject, Owner: key.Owner}
}

// compile merges the overrides that are active at now into the plan's policies,
// and returns the result bound to no subject.
func compile(row *keyAndPlan, now time.Time) (*ratelimit.Quota, error) {
	var policies []ratelimit.Policy
	if err := json.Unmarshal([]byte(row.Policies), &policies); err != nil {
		return nil, fmt.Errorf("plan %s: %w", row.Plan, err)
	}
	quota, err := ratelimit.NewQuota(models.BoundQueues(merge(policies, row.Overrides, now)), ratelimit.Subjects{})
	if err != nil {
		return nil, fmt.Errorf("plan %s with overrides: %w", row.Plan, err)
	}
	return quota, nil
}
