package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// migrationLock is the advisory lock that instances which start at once take turns by.
	migrationLock int64 = 0x726c_6d69_6772_6174 // "rlmigrat"
	// migrationLockPoll is the time between two tries at it. A waiting pg_advisory_lock would
	// hold a snapshot, which CREATE INDEX CONCURRENTLY in the other instance would wait for.
	migrationLockPoll = 50 * time.Millisecond

	undefinedTable = "42P01" // SQLSTATE
)

// Migrate brings the database to the newest migration of the files (numbered *.sql at the root of
// the file system, in goose's format). Any number of instances may do so at once: one works, the
// others wait for it, as long as their contexts let them. Each migration is a transaction of its
// own, so that one that fails leaves nothing behind but those before it.
func Migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS) error {
	pending, err := Pending(ctx, pool, files)
	if err != nil || !pending {
		return err
	}
	db, err := migrationDB(ctx, pool)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// migrationDB returns one connection apart from the pool, without the pool's statement timeout,
// that holds the migration lock as long as it is open. Taking the lock while connecting covers
// what goose does without a session lock: looking for pending migrations and creating its table.
func migrationDB(ctx context.Context, pool *pgxpool.Pool) (*sql.DB, error) {
	poolConfig := pool.Config()
	cfg := poolConfig.ConnConfig
	if poolConfig.BeforeConnect != nil {
		if err := poolConfig.BeforeConnect(ctx, cfg); err != nil {
			return nil, fmt.Errorf("migrate: %w", err)
		}
	}
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(takeMigrationLock))
	db.SetMaxOpenConns(1)
	return db, nil
}

// takeMigrationLock waits for the lock, which the session keeps until it ends.
func takeMigrationLock(ctx context.Context, conn *pgx.Conn) error {
	for {
		var taken bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", migrationLock).Scan(&taken); err != nil {
			return fmt.Errorf("take the migration lock: %w", err)
		}
		if taken {
			return nil
		}
		if err := pause(ctx, migrationLockPoll); err != nil {
			return fmt.Errorf("another instance is migrating: %w", err)
		}
	}
}

// Pending tells whether a migration of the files has not been applied. It takes no lock and
// changes nothing: one query, so that a readiness probe can ask it each time.
func Pending(ctx context.Context, pool *pgxpool.Pool, files fs.FS) (bool, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return false, err
	}
	rows, err := pool.Query(ctx, "SELECT version_id FROM goose_db_version")
	var applied []int64
	if err == nil {
		applied, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if refusal := new(pgconn.PgError); err != nil && (!errors.As(err, &refusal) || refusal.Code != undefinedTable) {
		return false, fmt.Errorf("look for pending migrations: %w", err)
	}
	missing := make(map[int64]bool, len(names))
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return false, fmt.Errorf("migration %s: %w", name, err)
		}
		missing[version] = true
	}
	for _, version := range applied {
		delete(missing, version)
	}
	return len(missing) > 0, nil
}
