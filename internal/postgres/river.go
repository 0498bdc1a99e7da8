package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

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
	migrator, err := rivermigrate.New(riverpgxv5.New(own), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrations of River: %w", err)
	}
	return nil
}
