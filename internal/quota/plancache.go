package quota

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Bounds of the plan cache. A plan takes a few KB, and there are few.
const (
	maxPlans         = 1_000
	maxNegativePlans = 1_000
)

// PlanCache caches the quotas of whole plans, for checks of callers' own
// subjects. It is safe for concurrent use.
type PlanCache struct {
	db          *pgxpool.Pool
	mode        *EnforcementMode
	cache       *cache.Aside[string, *cachedPlan]
	generations generations
}

// cachedPlan is a cache entry.
type cachedPlan struct {
	quota    *ratelimit.Quota // bound to no subject
	shadow   shadowQuota      // of quota
	snapshot snapshot
}

// NewPlanCache returns a PlanCache that reads from db. The caller must Close it.
func NewPlanCache(db *pgxpool.Pool, mode *EnforcementMode, cfg CacheConfig) (*PlanCache, error) {
	plans, err := cache.NewAside[string](cache.Options[*cachedPlan]{
		Size: maxPlans, LoadTimeout: loadTimeout, TTL: cfg.TTL, Stale: cfg.Stale,
		Negative:     func(err error) bool { return errors.Is(err, models.ErrNotFound) },
		NegativeSize: maxNegativePlans, NegativeTTL: negativeTTL,
		Valid: func(p *cachedPlan) bool { return p.snapshot.current() },
	})
	if err != nil {
		return nil, err
	}
	return &PlanCache{db: db, mode: mode, cache: plans}, nil
}

// Quota returns the plan's policies without their groups, bound to no subject.
// Errors: models.ErrNotFound, models.ErrUnavailable, ctx's.
func (c *PlanCache) Quota(ctx context.Context, name string) (*ratelimit.Quota, error) {
	plan, err := c.cache.Get(ctx, name, time.Now(), func(ctx context.Context) (*cachedPlan, error) { return c.load(ctx, name) })
	if err != nil {
		return nil, err
	}
	if c.mode.Shadow() {
		return plan.shadow.of(plan.quota, nil), nil
	}
	return plan.quota, nil
}

func (c *PlanCache) load(ctx context.Context, name string) (*cachedPlan, error) {
	plan := &cachedPlan{snapshot: c.generations.snapshot(c.generations.now(), "", name)} // before the query
	rows, err := c.db.Query(ctx, `SELECT policies FROM plans WHERE name = $1`, name)
	if err != nil {
		return nil, postgres.Classify("read plan", err)
	}
	policies, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[[]ratelimit.Policy])
	if err = postgres.Classify("read plan", err); err != nil {
		if !errors.Is(err, models.ErrNotFound) {
			err = unreadable("plan "+name, err)
		}
		return nil, err
	}
	for i := range policies {
		policies[i].Group = "" // groups are those of our own routes
	}
	plan.quota, err = ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "nobody", Owner: "nobody"})
	if err != nil {
		return nil, unreadable("plan "+name, err)
	}
	return plan, nil
}

// Invalidate drops the entry of a changed plan.
func (c *PlanCache) Invalidate(event models.ChangeEvent) {
	if event.Kind == models.ChangedPlan {
		c.generations.mark(c.generations.plan(event.ID))
		c.cache.Invalidate()
	}
}

// InvalidateAll drops all entries.
func (c *PlanCache) InvalidateAll() {
	c.generations.markAll()
	c.cache.Invalidate()
}

// Close ends running loads.
func (c *PlanCache) Close() { c.cache.Close() }
