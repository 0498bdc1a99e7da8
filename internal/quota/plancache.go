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
	maxPlanNames     = 10_000
)

// PlanCache caches the quotas of whole plans, for checks of callers' own
// subjects. It is safe for concurrent use.
type PlanCache struct {
	db          *pgxpool.Pool
	mode        *EnforcementMode
	cache       *cache.Aside[string, *cachedPlan]
	names       *cache.Aside[struct{}, *planNames] // one entry
	generations generations
}

// cachedPlan is a cache entry.
type cachedPlan struct {
	quota    *ratelimit.Quota // bound to no subject
	shadow   shadowQuota      // of quota
	snapshot snapshot
}

// planNames is the names of all plans, so that checks with made-up names cost no
// query each.
type planNames struct {
	names      map[string]bool
	generation uint64
}

// unknown reports whether no plan has this name.
func (n *planNames) unknown(name string) bool { return len(n.names) <= maxPlanNames && !n.names[name] }

// NewPlanCache returns a PlanCache that reads from db. The caller must Close it.
func NewPlanCache(db *pgxpool.Pool, mode *EnforcementMode, cfg CacheConfig) (*PlanCache, error) {
	plans, err := cache.NewAside[string](cache.Options[*cachedPlan]{
		Size: maxPlans, LoadTimeout: loadTimeout, TTL: cfg.TTL, Stale: cfg.Stale,
		Negative:     func(err error) bool { return errors.Is(err, models.ErrNotFound) },
		NegativeSize: maxNegativePlans, NegativeTTL: negativeTTL,
		Valid: func(p *cachedPlan) bool { return p.snapshot.current() },
		AsOf:  cfg.AsOf, MaxAge: maxAge,
	})
	if err != nil {
		return nil, err
	}
	c := &PlanCache{db: db, mode: mode, cache: plans}
	c.names, err = cache.NewAside[struct{}](cache.Options[*planNames]{
		Size: 100, LoadTimeout: loadTimeout, TTL: negativeTTL,
		Valid: func(n *planNames) bool { return n.generation == c.generations.now() },
	})
	return c, err
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
	known, err := c.names.Get(ctx, struct{}{}, time.Now(), c.loadNames)
	switch {
	case err != nil:
		return nil, err
	case known.unknown(name):
		return nil, models.ErrNotFound
	}
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
		// Groups are those of our own routes; a check has one subject.
		policies[i].Group, policies[i].Per = "", ""
	}
	plan.quota, err = ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "nobody", Owner: "nobody"})
	if err != nil {
		return nil, unreadable("plan "+name, err)
	}
	return plan, nil
}

func (c *PlanCache) loadNames(ctx context.Context) (*planNames, error) {
	loaded := &planNames{names: map[string]bool{}, generation: c.generations.now()} // before the query
	rows, err := c.db.Query(ctx, `SELECT name FROM plans LIMIT $1`, maxPlanNames+1)
	if err != nil {
		return nil, unreadable("names of plans", err)
	}
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&name}, func() error { loaded.names[name] = true; return nil }); err != nil {
		return nil, unreadable("names of plans", err)
	}
	return loaded, nil
}

// Invalidate drops the entry of a changed plan.
func (c *PlanCache) Invalidate(event models.ChangeEvent) {
	if event.Kind == models.ChangedPlan {
		c.generations.mark(c.generations.plan(event.ID))
		c.names.Invalidate()
		c.cache.Invalidate()
	}
}

// InvalidateAll drops all entries.
func (c *PlanCache) InvalidateAll() {
	c.generations.markAll()
	c.names.Invalidate()
	c.cache.Invalidate()
}

// CacheStats returns what the cache of plans did so far.
func (c *PlanCache) CacheStats() cache.Stats { return c.cache.Stats() }

// Close ends running loads.
func (c *PlanCache) Close() {
	c.cache.Close()
	c.names.Close()
}
