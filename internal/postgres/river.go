package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// migrateRiver applies the pending migrations of River, the engine of the queue, while a connection
// of locked holds the migration lock. They run on another connection, without the pool's statement
// timeout.
func migrateRiver(ctx context.Context, pool *pgxpool.Pool, locked *sql.DB) error {
	if err := locked.PingContext(ctx); err != nil { // it connects, and keeps the connection
		return err
	}
	cfg := pool.Config()
	withoutTimeouts(cfg.ConnConfig)
	cfg.MaxConns = 1
	own, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer own.Close()
	migrator, err := riverMigrator(own)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrations of River: %w", err)
	}
	return nil
}

func riverMigrator(pool *pgxpool.Pool) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
}

// RiverPending reports whether a migration of River hasn't been applied.
func RiverPending(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	migrator, err := riverMigrator(pool)
	if err != nil {
		return false, err
	}
	result, err := migrator.Validate(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("look for pending migrations of River: %w", err)
	}
	return !result.OK, nil
}
