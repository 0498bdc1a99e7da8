package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/shop"
	"ratelimiter/migrations"
)

// drainTimeout bounds how long requests under way may take after a signal.
const drainTimeout = 20 * time.Second

// serveCommand serves the API until a signal.
type serveCommand struct {
	Dev bool `env:"RATELIMITER_DEV" help:"For trying out: make a key pepper and, in an empty database, a demo key and an admin key."`
}

// Run serves until a signal. One that comes while it starts is no failure.
func (s *serveCommand) Run(ctx context.Context, cfg *config, to *console) error {
	if err := cfg.withPeppers(s.Dev); err != nil {
		return err
	}
	public, ops, err := listen(ctx, cfg) // first: it is quick, and fails where another server runs
	if err != nil {
		return err
	}
	err = s.serve(ctx, cfg, to, public, ops)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err == nil {
		to.log.Info("stopped")
	}
	return err
}

// listen opens both addresses.
func listen(ctx context.Context, cfg *config) (public, ops net.Listener, err error) {
	var config net.ListenConfig
	if public, err = config.Listen(ctx, "tcp", cfg.httpAddr); err != nil {
		return nil, nil, fmt.Errorf("HTTP_ADDR: %w", err)
	}
	if ops, err = config.Listen(ctx, "tcp", cfg.opsAddr); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("OPS_ADDR: %w", err), public.Close())
	}
	return public, ops, nil
}

// serve wires the parts, serves, and drains in reverse order: requests first,
// the private Postgres last.
func (s *serveCommand) serve(ctx context.Context, cfg *config, to *console, public, ops net.Listener) (err error) {
	defer func() { _, _ = public.Close(), ops.Close() }() // a server that ran has closed its own
	db, err := serverDatabase(ctx, cfg, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()

	parts, err := newServices(cfg, db, to.log, nil)
	if err != nil {
		return err
	}
	defer parts.close()

	ready := &readiness{db: db.Pool, every: time.Second}
	router, err := parts.router(cfg, to, ready)
	if err != nil {
		return err
	}
	opening := func(ctx context.Context) error {
		if err := postgres.Migrate(ctx, db.Pool, migrations.FS); err != nil {
			return err
		}
		if err := parts.start(ctx); err != nil {
			return err
		}
		ready.open.Store(true)
		to.log.Info("ready", "http", public.Addr().String(), "ops", ops.Addr().String())
		if s.Dev {
			return greet(ctx, cfg, to, db, public.Addr())
		}
		return nil
	}
	run := &running{
		opening: opening, ready: ready, log: to.log, audit: parts.audit, orders: parts.orders,
		servers: []served{{newServer(router, to), public}, {newOpsServer(ready, to), ops}},
	}
	return run.untilDone(ctx)
}

// running is a server that is wired.
type running struct {
	opening func(context.Context) error // what opens it to the public
	ready   *readiness
	log     *slog.Logger
	audit   *audit.Log
	orders  *shop.Orders
	servers []served
}

// served is a server and where it listens.
type served struct {
	*http.Server
	listener net.Listener
}

// untilDone serves until ctx ends or a part fails, and then drains the servers
// in their order.
func (r *running) untilDone(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := r.opening(ctx); err != nil {
			return err
		}
		group.Go(func() error { r.orders.Keep(ctx, r.log); return nil })
		r.audit.Keep(ctx, r.log)
		return nil
	})
	for _, s := range r.servers {
		group.Go(func() error {
			if err := s.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		r.ready.draining.Store(true)
		r.log.Info("draining")
		return drain(r.servers)
	})
	return group.Wait()
}

// drain lets the requests under way end, all within drainTimeout.
func drain(servers []served) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var faults []error
	for _, s := range servers {
		if err := s.Shutdown(ctx); err != nil {
			faults = append(faults, fmt.Errorf("requests did not end within %s", drainTimeout), s.Close())
		}
	}
	return errors.Join(faults...)
}
