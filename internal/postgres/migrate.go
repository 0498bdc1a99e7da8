package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// migrationLock is the advisory lock that serializes the migrations of several instances.
	migrationLock int64 = 0x726c_6d69_6772_6174 // "rlmigrat"
	// migrationLockPoll is the time between two attempts to take it. A blocking pg_advisory_lock
	// would hold a snapshot that CREATE INDEX CONCURRENTLY in the other instance waits for.
	migrationLockPoll = 50 * time.Millisecond
)

// Migrate applies the pending migrations of the files (numbered *.sql at the root of the file
// system, in goose's format). Instances may call it concurrently: one migrates, the others wait
// until it has finished or their contexts end. pool must not be a pooler's. Each migration is a transaction of its own: if one
// fails, those before it stay applied. River's own migrations run first.
func Migrate(ctx context.Context, pool *pgxpool.Pool, files fs.FS) error {
	pending, err := Pending(ctx, pool, files)
	if err == nil && !pending {
		pending, err = RiverPending(ctx, pool)
	}
	if err != nil || !pending {
		return err
	}
	db := migrationDB(pool)
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	err = migrateRiver(ctx, pool, db)
	if err == nil {
		_, err = provider.Up(ctx)
	}
	if errors.Is(err, errPooledMigration) {
		return errPooledMigration
	} else if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// migrationDB returns a single connection outside the pool, without the pool's statement timeout,
// that holds the migration lock while it is open. Taking the lock on connect also covers what goose
// does outside its own session lock: it looks for pending migrations and creates its table.
func migrationDB(pool *pgxpool.Pool) *sql.DB {
	cfg := pool.Config().ConnConfig
	withoutTimeouts(cfg)
	options := []stdlib.OptionOpenDB{stdlib.OptionAfterConnect(takeMigrationLock)}
	if before := pool.Config().BeforeConnect; before != nil {
		options = append(options, stdlib.OptionBeforeConnect(before))
	}
	db := stdlib.OpenDB(*cfg, options...)
	db.SetMaxOpenConns(1)
	return db
}

// withoutTimeouts removes the timeouts that protect the pool: a migration takes as long as it takes.
func withoutTimeouts(cfg *pgx.ConnConfig) {
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
}

// errPooledMigration names the way out: a lock needs a session of its own.
var errPooledMigration = errors.New("migrations are pending, and the database is reached through a connection pooler: " +
	"set DATABASE_LISTEN_URL to the URL of a direct connection to it")

// takeMigrationLock waits for the lock, which the session holds until it ends.
func takeMigrationLock(ctx context.Context, conn *pgx.Conn) error {
	if throughPooler(conn) {
		return errPooledMigration
	}
	for {
		var taken bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", migrationLock).Scan(&taken); err != nil {
			return fmt.Errorf("take the migration lock: %w", err)
		}
		if taken {
			return nil
		}
		select {
		case <-time.After(migrationLockPoll):
		case <-ctx.Done():
			return fmt.Errorf("another instance is migrating: %w", ctx.Err())
		}
	}
}

// Pending reports whether a migration of the files hasn't been applied. It is one query without
// locks or changes, cheap enough for a readiness probe.
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
	if err != nil && !hasState(err, undefinedTable) {
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
