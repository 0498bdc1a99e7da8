package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

// stopTimeout bounds the end of the private Postgres; after it, it is killed.
const stopTimeout = 15 * time.Second

// database is a pool on the Postgres that was asked for, be it the private one.
type database struct {
	*pgxpool.Pool
	private *postgres.Server // nil with a DATABASE_URL
}

// openDatabase connects to DATABASE_URL, or to the private Postgres, which get
// provides: postgres.Start to own it, postgres.OwnOrAttach to use it briefly.
func openDatabase(ctx context.Context, cfg *config, to *console,
	get func(context.Context, postgres.Config) (*postgres.Server, error),
) (*database, error) {
	db := &database{}
	url := cfg.databaseURL
	if url == "" {
		server, err := get(ctx, postgres.Config{DataDir: cfg.dataDir, Log: to.log})
		if err != nil {
			return nil, err
		}
		db.private, url = server, server.URL()
	}
	pool, err := postgres.Open(ctx, url, postgres.WithApplicationName("ratelimiter"))
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
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return db.private.Stop(ctx)
}

// withKeys runs a short command on the keys, whatever runs already.
func withKeys(ctx context.Context, cfg *config, to *console, do func(*apikeys.Store) error) error {
	if err := cfg.withPeppers(false); err != nil {
		return err
	}
	db, err := openDatabase(ctx, cfg, to, postgres.OwnOrAttach)
	if err != nil {
		return err
	}
	err = postgres.Migrate(ctx, db.Pool, migrations.FS)
	if err == nil {
		err = do(apikeys.NewStore(db.Pool, cfg.peppers))
	}
	return errors.Join(err, db.close())
}

// migrateCommand brings the schema up to date.
type migrateCommand struct{}

// Run migrates and says so.
func (*migrateCommand) Run(ctx context.Context, cfg *config, to *console) error {
	db, err := openDatabase(ctx, cfg, to, postgres.OwnOrAttach)
	if err != nil {
		return err
	}
	err = postgres.Migrate(ctx, db.Pool, migrations.FS)
	if err == nil {
		_, err = fmt.Fprintln(to.out, "The schema is up to date.")
	}
	return errors.Join(err, db.close())
}
