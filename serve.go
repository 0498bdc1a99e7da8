package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

// drainTimeout bounds how long requests under way may take after a signal.
const drainTimeout = 20 * time.Second

// serveCommand serves the API until a signal.
type serveCommand struct {
	Dev bool `env:"RATELIMITER_DEV" help:"For trying out: make a key pepper and, in an empty database, a demo key and an admin key."`
}

// Run wires the parts, serves, and drains in reverse order: requests first,
// the private Postgres last.
func (s *serveCommand) Run(ctx context.Context, cfg *config, to *console) (err error) {
	if err := cfg.withPeppers(s.Dev); err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, to, postgres.Start)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()

	parts, err := newServices(cfg, db, nil)
	if err != nil {
		return err
	}
	defer parts.close()

	ready := &readiness{db: db}
	router, err := parts.router(cfg, to, ready)
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	public, err := listen.Listen(ctx, "tcp", cfg.httpAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	ops, err := listen.Listen(ctx, "tcp", cfg.opsAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("OPS_ADDR: %w", err), public.Close())
	}
	opening := func(ctx context.Context) error {
		if err := postgres.Migrate(ctx, db.Pool, migrations.FS); err != nil {
			return err
		}
		ready.open.Store(true)
		if s.Dev {
			return greet(ctx, cfg, to, db, public.Addr())
		}
		to.log.Info("ready", "http", public.Addr().String(), "ops", ops.Addr().String())
		return nil
	}
	return serve(ctx, ready, opening, []served{{newServer(router, to), public}, {newOpsServer(ready, to), ops}})
}

// served is a server and where it listens.
type served struct {
	*http.Server
	listener net.Listener
}

// serve runs the servers and what opens them to the public until ctx ends or
// one of them fails, and then drains them in their order.
func serve(ctx context.Context, ready *readiness, opening func(context.Context) error, servers []served) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return opening(ctx) })
	group.Go(func() error { return ready.watch(ctx) })
	for _, s := range servers {
		group.Go(func() error {
			if err := s.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		ready.draining.Store(true)
		return drain(servers)
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil // a signal while it was starting
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

// readiness knows whether requests can be served. It is the handlers'
// Readiness.
type readiness struct {
	db       *database
	open     atomic.Bool // the schema is up to date
	draining atomic.Bool // there was a signal
}

// NotReady returns why requests can't be served now, or "".
func (r *readiness) NotReady(ctx context.Context) string {
	if !r.open.Load() || r.draining.Load() {
		return "Not ready: starting, or shutting down."
	}
	pending, err := postgres.Pending(ctx, r.db.Pool, migrations.FS)
	switch {
	case err != nil:
		return "Not ready: the database can't be reached."
	case pending:
		return "Not ready: a migration is pending; run 'ratelimiter migrate'."
	default:
		return ""
	}
}

// watch fails when the private Postgres ends by itself: what is served from
// memory then would end with the cache, and a restart brings Postgres back.
func (r *readiness) watch(ctx context.Context) error {
	if r.db.private == nil {
		return nil
	}
	select {
	case <-r.db.private.Done():
		return fmt.Errorf("the private Postgres ended: %w", r.db.private.Err())
	case <-ctx.Done():
		return nil
	}
}
