// Package app is the composition root: it builds all parts of the server, starts
// them in order and stops them in reverse order.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/handlers"
	"ratelimiter/internal/config"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/server"
	"ratelimiter/internal/workpool"
)

// Options are what an App needs besides the settings.
type Options struct {
	Log      *slog.Logger
	Out      io.Writer // for people: where the server is, and the dev keys
	Terminal io.Writer // for progress that changes in place; nil: the log has it
	Dev      bool      // create keys in a database without keys

	// For tests. Zero values are the product's own.
	Now      func() time.Time // clock of the limiters
	RedisNow func() time.Time // clock of Redis
	DB       *pgxpool.Pool    // instead of one on DATABASE_URL
	QuotaDB  *pgxpool.Pool    // what quotas are read from
	ListenDB *pgxpool.Pool    // where to listen for changes, and to migrate
	CPU      *workpool.Pool   // where invoices are drawn
	Isolated bool             // don't watch changes of other instances, and don't work on the queue
	Routes   queue.Routes     // groups of topics
	Handlers queue.Handlers   // of messages
}

// App is a complete server.
type App struct {
	log        *slog.Logger
	components components
	readiness  *readiness
	services   *services
	api, ops   httpServer
	delay      time.Duration // from the end of Run's context to Stop
	failed     chan error    // capacity 1: the first failure of a running component
	drain      func()        // ends the waits for events
	out        io.Writer
	greeting   string // of dev mode
}

// New returns a complete App that isn't started. The peppers of cfg are loaded.
func New(cfg *config.Config, o Options) (*App, error) {
	a := &App{log: o.Log, out: o.Out, delay: cfg.ShutdownDelay, failed: make(chan error, 1)}
	serving, drain := context.WithCancel(context.Background())
	a.drain = drain
	db, private, err := newPool(cfg, o)
	if err != nil {
		return nil, err
	}
	if o.ListenDB == nil {
		if o.ListenDB, err = newListenPool(cfg, db); err != nil {
			return nil, err
		}
	}
	a.api.listener, a.ops.listener = server.NewListener("HTTP_ADDR", cfg.HTTPAddr), server.NewListener("OPS_ADDR", cfg.OpsAddr)
	if a.services, err = newServices(cfg, db, a.ops.listener, o); err != nil {
		return nil, err
	}
	a.readiness = newReadiness(db, a.services.usage.DiskFull, a.services.worker.TransportFault)
	router := a.services.router(serving, cfg, o.Log, a.readiness)
	a.api.server = server.NewHTTP(a.api.listener, router, o.Log, a.fail)
	ops := server.NewOpsHandler(cfg.OpsAddr, handlers.NewHealth(a.readiness), a.services.metrics().Handler(), o.Log, a.services.payments.mount)
	a.ops.server = server.NewOpsHTTP(a.ops.listener, ops, o.Log, a.fail)
	a.components.list = a.ordered(cfg, db, private, o)
	return a, nil
}

// Addr returns the address that the API listens on, once started.
func (a *App) Addr() net.Addr { return a.api.listener.Addr() }

// OpsAddr returns the ops address, once started.
func (a *App) OpsAddr() net.Addr { return a.ops.listener.Addr() }

// Run starts the App, serves until ctx ends or a component fails, and stops it.
// After the end of ctx it serves for the shutdown delay first.
// A start that ctx interrupts is no error.
func (a *App) Run(ctx context.Context) error {
	err := a.Start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
			err = a.delayStop(ctx)
		case err = <-a.failed:
		}
		a.log.Info("draining")
	} else if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
}

// delayStop reports the App as not ready and keeps serving for the shutdown
// delay, so that load balancers stop sending requests before the listener closes.
// Responses ask clients to close their connections. A second signal or a failed
// component ends the delay; the error is the component's.
func (a *App) delayStop(ctx context.Context) error {
	if a.delay == 0 {
		return nil
	}
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, a.delay)
	defer cancel()
	a.api.server.CloseConnections()
	a.readiness.stop()
	a.log.Info("not ready, serving until the drain", "delay", a.delay.String())
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.failed:
		return err
	}
}

// Start starts the components in order. After an error, Stop stops those that
// were started.
func (a *App) Start(ctx context.Context) error {
	if err := a.components.start(ctx); err != nil {
		return err
	}
	a.log.Info("ready", "http", a.Addr().String(), "ops", a.OpsAddr().String())
	if a.greeting == "" {
		return nil
	}
	_, err := io.WriteString(a.out, a.greeting)
	return err
}

// Stop reports the App as not ready, ends the waits for events, and stops the components in reverse order:
// requests first, the private Postgres last.
func (a *App) Stop(ctx context.Context) error {
	a.readiness.stop()
	a.drain()
	return a.components.stop(ctx)
}

// fail ends Run with err.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default: // an earlier failure ends it
	}
}

// newPool returns a pool on DATABASE_URL, or on the private Postgres, which is
// started as a component. It doesn't connect.
func newPool(cfg *config.Config, o Options) (*pgxpool.Pool, *devdb.Supervisor, error) {
	if o.DB != nil {
		return o.DB, nil, nil
	}
	if cfg.DatabaseURL != "" {
		db, err := postgres.NewPool(cfg.DatabaseURL)
		return db, nil, err
	}
	private := devdb.NewSupervisor(devdb.Config{DataDir: cfg.DataDir, Log: o.Log, Terminal: o.Terminal})
	db, err := postgres.NewPool("postgres://?sslmode=disable", postgres.WithBeforeConnect(private.BeforeConnect))
	return db, private, err
}

// newListenPool returns a pool of direct connections: db, unless that may be a
// pooler's.
func newListenPool(cfg *config.Config, db *pgxpool.Pool) (*pgxpool.Pool, error) {
	if cfg.ListenURL == "" {
		return db, nil
	}
	return postgres.NewPool(cfg.ListenURL, postgres.WithMaxConns(1)) // the watcher has a connection of its own
}

// FlushUsage writes the recorded usage now.
func (a *App) FlushUsage(ctx context.Context) error { return a.services.usage.Flush(ctx) }
