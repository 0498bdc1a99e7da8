package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"ratelimiter/handlers"
	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/audit"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/shop"
	"ratelimiter/internal/usage"
	"ratelimiter/middleware"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// services are what the handlers and the middleware call.
type services struct {
	db      *database
	calm    *quota.Calm
	quotas  *quota.Service
	checks  *quota.Checks
	plans   *quota.Plans
	audit   *audit.Log
	keys    *apikeys.Store
	orders  *shop.Orders // made with the router
	limiter *ratelimit.Limiter
	builtIn *ratelimit.Limiter
	guard   *middleware.AddressGuard
	cpu     *middleware.Pool
	usage   *usage.Service // made with the router
	others  *quota.Notifier
	watcher *quota.Watcher
}

// newServices makes the services on a database. clock is what the limiters go
// by; nil: their own.
func newServices(cfg *config, db *database, log *slog.Logger, clock func() time.Time) (*services, error) {
	var options []ratelimit.Option
	if clock != nil {
		options = append(options, ratelimit.WithClock(clock))
	} else {
		clock = time.Now
	}
	times := quota.Config{TTL: cfg.cacheTTL, Stale: cfg.cacheStale}
	// A store each, so that no flood of addresses or of others' subjects can
	// push out the counters of our keys.
	newLimiter := func() *ratelimit.Limiter { return ratelimit.New(memory.New(), options...) }
	calm := quota.NewCalm(db.Pool)
	quotas, quotasErr := quota.New(db.Pool, keyChecker{cfg.peppers}, calm, times)
	checks, checksErr := quota.NewChecks(db.Pool, newLimiter(), calm, times, clock)
	if err := errors.Join(quotasErr, checksErr); err != nil {
		return nil, err
	}
	others := quota.NewNotifier(db.Pool, log)
	announce := announcer{quotas, checks, others}
	calm.AnnounceTo(announce)
	plans := quota.NewPlans(db.Pool, announce)
	return &services{
		db: db, calm: calm, quotas: quotas, checks: checks, plans: plans, audit: audit.New(db.Pool),
		keys:    apikeys.NewStore(db.Pool, cfg.peppers, apikeys.WithQuotas(plans), apikeys.WithAnnouncer(announce)),
		limiter: newLimiter(), builtIn: newLimiter(), guard: middleware.NewAddressGuard(newLimiter()),
		cpu:    middleware.NewPool(),
		others: others, watcher: quota.NewWatcher(db.Pool, log, quotas, checks, calm),
	}, nil
}

// start begins what the services do in the background, on a database whose
// schema is up to date. When it returns nil, the limiter's mode is in force.
func (s *services) start(ctx context.Context) error { return s.watcher.Start(ctx) }

// close ends what the services do in the background.
func (s *services) close() {
	s.drainCPU()
	if s.usage != nil {
		ctx, cancel := context.WithTimeout(context.Background(), usageTimeout)
		defer cancel()
		_ = s.usage.Close(ctx) // it has logged what was lost
	}
	s.watcher.Close()
	s.others.Close()
	s.checks.Close()
	s.quotas.Close()
}

// drainCPU waits for what still keeps cores busy: the servers have waited for
// its callers, unless these took too long. What remains then is at its last page.
func (s *services) drainCPU() {
	ctx, cancel := context.WithTimeout(context.Background(), cpuTimeout)
	defer cancel()
	_ = s.cpu.Drain(ctx) // when time is up, the end of the process ends it
}

// cpuTimeout bounds the wait for the last drawing, which takes milliseconds.
const cpuTimeout = 2 * time.Second

// usageTimeout bounds the last flush of usage.
const usageTimeout = 5 * time.Second

// router puts the handlers behind the gate.
func (s *services) router(cfg *config, to *console, ready *readiness) (http.Handler, error) {
	cursors := handlers.NewCursors(cfg.peppers.Derive("cursors"))
	groups := routeGroups()
	s.orders = shop.NewOrders(s.db.Pool)
	s.usage = usage.New(s.db.Pool, usage.Config{Log: to.log, NewStore: func() ratelimit.Store { return memory.New() }})
	return newRouter(&api{
		products: handlers.NewProducts(shop.NewProducts(s.db.Pool), cursors),
		orders:   handlers.NewOrders(s.orders, cursors),
		invoices: handlers.NewInvoices(shop.NewInvoices(s.orders), s.cpu),
		checks:   handlers.NewChecks(s.checks),
		me:       handlers.NewMe(s.keys, s.limiter, middleware.QuotaOf),
		usage:    handlers.NewUsage(s.usage, cursors, groups),
		keys:     handlers.NewKeys(s.keys, s.quotas, s.limiter, cursors, groups),
		plans:    handlers.NewPlans(s.plans, cursors, groups),
		limiter:  handlers.NewLimiter(s.calm),
		audit:    handlers.NewAudit(s.audit, cursors),
		health:   handlers.NewHealth(ready),
	}, &gate{
		log: to.log, quotas: s.quotas, guard: s.guard, limiter: s.limiter, usage: s.usage, builtIn: s.builtIn,
		fields: cfg.headers, origins: cfg.origins, proxies: cfg.trustedProxies,
	})
}

// keyChecker lends internal/quota what internal/apikeys knows.
type keyChecker struct{ *apikeys.Peppers }

func (keyChecker) ParseID(presented string) (string, error) { return apikeys.ParseID(presented) }
