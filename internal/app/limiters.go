package app

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/allowance"
	"ratelimiter/internal/config"
	"ratelimiter/internal/instances"
	"ratelimiter/internal/limits"
	"ratelimiter/internal/telemetry"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/fallback"
	"ratelimiter/ratelimit/memory"
	"ratelimiter/ratelimit/redis"
)

// counting is the limiters of keys' quotas and of checks, and where they count:
// calendar units in leases from Postgres, the others in memory or, with a
// REDIS_URL, in Redis. Each limiter has its own stores in memory, so that a flood of
// callers' subjects can't evict the counters of keys.
type counting struct {
	keys, checks *counter
	redis        *redisStore        // nil: in memory
	instances    *instances.Counter // nil without Redis
}

// counter is one of the limiters.
type counter struct {
	*ratelimit.Limiter
	allowances *allowance.Service
	fallback   *fallback.Store // nil without Redis
	saved      Component       // its store in memory; nil: not saved
}

// callBuckets are the upper bounds, in seconds, of the histogram of calls of Redis.
// An answer takes 0.1 ms or more.
var callBuckets = []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5}

// newCounting builds the limiters.
func newCounting(cfg *config.Config, db, quotaDB *pgxpool.Pool, m *telemetry.Metrics, o Options) *counting {
	c := &counting{}
	if cfg.RedisURL != "" {
		c.redis = &redisStore{
			url: cfg.RedisURL, timeout: cfg.RedisTimeout, log: o.Log,
			durations: m.Histogram("redis_call_seconds", "Duration of calls of Redis.", callBuckets, "call"),
		}
		if o.RedisNow != nil {
			c.redis.options = append(c.redis.options, redis.WithClock(o.RedisNow))
		}
		c.instances = instances.New(db, o.Log)
	}
	durable := allowance.NewTable(quotaDB)
	c.keys = c.newCounter(cfg, durable, "counters-of-keys", o)
	c.checks = c.newCounter(cfg, durable, "counters-of-checks", o)
	return c
}

// newCounter returns a limiter whose store in memory is saved in a file.
func (c *counting) newCounter(cfg *config.Config, durable *allowance.Table, file string, o Options) *counter {
	now, clock := time.Now, []ratelimit.Option(nil)
	if o.Now != nil {
		now, clock = o.Now, []ratelimit.Option{ratelimit.WithClock(o.Now)}
	}
	bytes := memory.DefaultMaxBytes
	if c.redis != nil {
		bytes /= 2 // the fallback has the other half
	}
	local := memory.New(memory.WithMaxBytes(bytes))
	n := &counter{allowances: allowance.New(durable, local, o.Log)}
	if cfg.DataDir != "" { // tests have none
		n.saved = &savedCounters{store: local, path: filepath.Join(cfg.DataDir, file), log: o.Log, now: now}
	}
	var store ratelimit.Store = local
	if c.redis != nil {
		options := fallback.Options{Timeout: cfg.RedisTimeout, Instances: c.instances.Count, Log: o.Log, MirrorBytes: bytes}
		if o.Now != nil {
			options.Clock = func() int64 { return o.Now().UnixNano() }
		}
		n.fallback = fallback.New(c.redis, options)
		store = ratelimit.NewSplit(local, n.fallback)
	}
	n.Limiter = ratelimit.New(store, append(slices.Clone(clock), ratelimit.WithAllowances(n.allowances))...)
	return n
}

// records returns where reservations are recorded; nil without Redis.
func (c *counting) records() limits.Records {
	if c.redis == nil {
		return nil
	}
	return &redisRecords{store: c.redis, down: func() bool { return c.checks.fallback.Figures().Down }}
}

// components returns the components in start order. They start after the
// database and stop after the last request.
func (c *counting) components(log *slog.Logger) []Component {
	var list []Component
	if c.redis != nil {
		list = append(list, c.redis, c.instances)
	}
	for _, n := range []*counter{c.keys, c.checks} {
		if n.fallback != nil {
			list = append(list, &reporter{Store: n.fallback, log: log})
		}
		if n.saved != nil {
			list = append(list, n.saved)
		}
	}
	return append(list, c.keys.allowances, c.checks.allowances)
}

// reporter is a fallback whose last report may fail without failing the shutdown.
type reporter struct {
	*fallback.Store
	log *slog.Logger
}

// Stop reports what was admitted alone.
func (r *reporter) Stop(ctx context.Context) error {
	if err := r.Store.Stop(ctx); err != nil {
		r.log.Warn("units that were admitted without Redis are not reported", "error", err.Error())
	}
	return nil
}
