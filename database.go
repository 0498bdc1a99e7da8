package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/migrations"
	"ratelimiter/models"
)

// database is a pool on the Postgres that was asked for, be it the private one.
type database struct {
	*pgxpool.Pool
	private *privatePostgres // nil with a DATABASE_URL
}

// openDatabase connects to DATABASE_URL, or to the private Postgres, which get
// provides: postgres.Start to own it, postgres.OwnOrAttach to use it briefly.
func openDatabase(ctx context.Context, cfg *config, to *console,
	get func(context.Context, postgres.Config) (*postgres.Server, error),
) (*database, error) {
	db, url := &database{}, cfg.databaseURL
	options := []postgres.Option{postgres.WithApplicationName("ratelimiter")}
	if url == "" {
		private, err := startPrivate(ctx, postgres.Config{DataDir: cfg.dataDir, Log: to.log}, get)
		if err != nil {
			return nil, err
		}
		db.private, url = private, private.server.URL()
		options = append(options, private.follow)
	}
	pool, err := postgres.Open(ctx, url, options...)
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	db.Pool = pool
	return db, nil
}

// close ends the pool and, if it is ours, the private Postgres.
func (db *database) close() error {
	if db.Pool != nil {
		db.Pool.Close()
	}
	if db.private == nil {
		return nil
	}
	return db.private.stop()
}

// withDatabase runs a short command on the database, brought up to date,
// whatever runs already. In its context the command line acts.
func withDatabase(ctx context.Context, cfg *config, to *console, do func(context.Context, *pgxpool.Pool) error) error {
	db, err := openDatabase(ctx, cfg, to, postgres.OwnOrAttach)
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
