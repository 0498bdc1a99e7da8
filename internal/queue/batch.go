package queue

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// batchTx is a transaction that adds statements to a batch instead of sending
// them, so that River's inserts share a round trip with others. Their results are
// those of statements without rows. QueryRow, by which River asks once for the
// version of Postgres, isn't deferred. Notifications are added to a batch of their
// own.
type batchTx struct {
	pgx.Tx
	batch, notify *pgx.Batch
}

// Exec adds a statement.
func (t batchTx) Exec(_ context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	batch := t.batch
	if strings.Contains(sql, "pg_notify") {
		batch = t.notify
	}
	batch.Queue(sql, arguments...)
	return pgconn.CommandTag{}, nil
}

// Query adds a statement.
func (t batchTx) Query(_ context.Context, sql string, arguments ...any) (pgx.Rows, error) {
	t.batch.Queue(sql, arguments...)
	return noRows{}, nil
}

// noRows are the rows of a statement that hasn't run.
type noRows struct{ pgx.Rows }

func (noRows) Close()     {}
func (noRows) Err() error { return nil }
func (noRows) Next() bool { return false }
