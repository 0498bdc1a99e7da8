package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// migrateRiver applies the pending migrations of River, the engine of the queue, on a connection of
// db. Each is a transaction of its own, because a value that one adds to a type can be used only by
// the next.
func migrateRiver(ctx context.Context, db *sql.DB) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(driver any) error {
		session := driver.(*stdlib.Conn).Conn()
		for more := true; more; {
			err := InTx(ctx, session, func(tx pgx.Tx) error {
				result, err := migrator.MigrateTx(ctx, tx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{MaxSteps: 1})
				more = err == nil && len(result.Versions) > 0
				return err
			})
			if err != nil {
				return fmt.Errorf("migrations of River: %w", err)
			}
		}
		return nil
	})
}
