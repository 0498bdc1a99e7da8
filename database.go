package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/devdb"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/migrations"
	"ratelimiter/models"
)

// stopTimeout bounds stopping the private Postgres. After that it is killed.
const stopTimeout = 15 * time.Second

// database is a connection pool, and the private Postgres that it uses, if any.
type database struct {
	*pgxpool.Pool
	stopPrivate func(context.Context) error
}

// serverDatabase connects to DATABASE_URL, or to a private Postgres that it
// starts and supervises.
func serverDatabase(ctx context.Context, cfg *config, to *console) (*database, error) {
	if cfg.databaseURL != "" {
		return open(ctx, cfg.databaseURL, nil)
	}
	private := devdb.NewSupervisor(devdb.Config{DataDir: cfg.dataDir, Log: to.log})
	if err := private.Start(ctx); err != nil {
		return nil, err
	}
	return open(ctx, "postgres://?sslmode=disable", private.Stop, postgres.WithBeforeConnect(private.BeforeConnect))
}

// commandDatabase connects a short command to DATABASE_URL, or to the private
// Postgres of a running server, or to one that it starts.
func commandDatabase(ctx context.Context, cfg *config, to *console) (*database, error) {
	if cfg.databaseURL != "" {
		return open(ctx, cfg.databaseURL, nil)
	}
	server, err := devdb.OwnOrAttach(ctx, devdb.Config{DataDir: cfg.dataDir, Log: to.log})
	if err != nil {
		return nil, err
	}
	return open(ctx, server.URL(), server.Stop)
}

// open opens the pool. If that fails, it stops the private Postgres.
func open(ctx context.Context, url string, stopPrivate func(context.Context) error, options ...postgres.Option) (*database, error) {
	db := &database{stopPrivate: stopPrivate}
	pool, err := postgres.Open(ctx, url, append(options, postgres.WithApplicationName("ratelimiter"))...)
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	db.Pool = pool
	return db, nil
}

// close closes the pool and stops the private Postgres.
func (db *database) close() error {
	if db.Pool != nil {
		db.Pool.Close()
	}
	if db.stopPrivate == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return db.stopPrivate(ctx)
}

// withDatabase runs a short command on the database, brought up to date,
// whatever runs already. In its context the command line acts.
func withDatabase(ctx context.Context, cfg *config, to *console, do func(context.Context, *pgxpool.Pool) error) error {
	db, err := commandDatabase(ctx, cfg, to)
	if err != nil {
		return err
	}
	err = postgres.Migrate(ctx, db.Pool, migrations.FS)
	if err == nil {
		err = do(models.WithActor(ctx, models.ActorCLI), db.Pool)
		quota.Nudge(ctx, db.Pool)
	}
	return errors.Join(err, db.close())
}

// withKeys is withDatabase for commands on keys.
func withKeys(ctx context.Context, cfg *config, to *console, do func(context.Context, *apikeys.Store) error) error {
	if err := cfg.withPeppers(false); err != nil {
		return err
	}
	return withDatabase(ctx, cfg, to, func(ctx context.Context, db *pgxpool.Pool) error {
		return do(ctx, apikeys.NewStore(db, cfg.peppers, apikeys.WithQuotas(quota.NewPlans(db, nil))))
	})
}

// migrateCommand brings the schema up to date.
type migrateCommand struct{}

// Run migrates and says so.
func (*migrateCommand) Run(ctx context.Context, cfg *config, to *console) error {
	return withDatabase(ctx, cfg, to, func(context.Context, *pgxpool.Pool) error {
		_, err := fmt.Fprintln(to.out, "The schema is up to date.")
		return err
	})
}
