package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

func TestInBatches(t *testing.T) {
	errRefused := errors.New("refused")
	pool := notes(t)
	var backend int
	if err := pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		read  error // of a callback
		write func(tx pgx.Tx, batch, _ *pgx.Batch) error
		want  func(error) bool
		notes string // afterwards
	}{
		"commits": {
			write: func(tx pgx.Tx, batch, _ *pgx.Batch) error {
				_, err := tx.Exec(t.Context(), "INSERT INTO notes VALUES ('a')")
				batch.Queue("INSERT INTO notes VALUES ('b')")
				return err
			},
			want: func(err error) bool { return err == nil }, notes: "a b",
		},
		"commits nothing": {
			write: func(_ pgx.Tx, _, _ *pgx.Batch) error { return nil },
			want:  func(err error) bool { return err == nil },
		},
		"error of a read": {
			read:  errRefused,
			write: func(_ pgx.Tx, _, _ *pgx.Batch) error { t.Error("write was called"); return nil },
			want:  func(err error) bool { return errors.Is(err, errRefused) },
		},
		"error of write": {
			write: func(tx pgx.Tx, batch, _ *pgx.Batch) error {
				batch.Queue("INSERT INTO notes VALUES ('unsent')")
				_, _ = tx.Exec(t.Context(), "INSERT INTO notes VALUES ('rolled back')")
				return errRefused
			},
			want: func(err error) bool { return errors.Is(err, errRefused) },
		},
		"error of a statement": {
			write: func(_ pgx.Tx, batch, _ *pgx.Batch) error {
				batch.Queue("INSERT INTO notes VALUES ('before')")
				batch.Queue("SELECT 1 / $1::int", 0)
				batch.Queue("INSERT INTO notes VALUES ('after')")
				return nil
			},
			want: func(err error) bool { return err != nil && !errors.Is(err, pgx.ErrTxCommitRollback) },
		},
		"after the commit": {
			write: func(_ pgx.Tx, batch, after *pgx.Batch) error {
				after.Queue("INSERT INTO notes SELECT 'different transaction' WHERE pg_current_xact_id_if_assigned() IS NULL")
				batch.Queue("INSERT INTO notes VALUES ('a')")
				return nil
			},
			want: func(err error) bool { return err == nil }, notes: "a different transaction",
		},
		"error after the commit": {
			write: func(_ pgx.Tx, batch, after *pgx.Batch) error {
				batch.Queue("INSERT INTO notes VALUES ('a')")
				after.Queue("SELECT 1 / $1::int", 0)
				return nil
			},
			want: func(err error) bool { return err == nil }, notes: "a",
		},
		"not after an error": {
			write: func(_ pgx.Tx, batch, after *pgx.Batch) error {
				batch.Queue("SELECT 1 / $1::int", 0)
				after.Queue("INSERT INTO notes VALUES ('after')")
				return nil
			},
			want: func(err error) bool { return err != nil },
		},
		"ignored error": {
			write: func(tx pgx.Tx, _, _ *pgx.Batch) error { _, _ = tx.Exec(t.Context(), "SELECT 1/0"); return nil },
			want:  func(err error) bool { return errors.Is(err, pgx.ErrTxCommitRollback) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pool.Exec(t.Context(), "TRUNCATE notes"); err != nil {
				t.Fatal(err)
			}
			err := postgres.InBatches(t.Context(), pool, func(batch *pgx.Batch) {
				batch.Queue("SELECT 1").QueryRow(func(pgx.Row) error { return c.read })
			}, c.write)
			if !c.want(err) {
				t.Errorf("got error %v", err)
			}
			if all := written(t, pool); all != c.notes {
				t.Errorf("written: %q; want %q", all, c.notes)
			}
			var now int
			if err := pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&now); err != nil || now != backend {
				t.Errorf("the connection was replaced: backend %d, then %d, error %v", backend, now, err)
			}
		})
	}
}

func TestInBatches_context_ended(t *testing.T) {
	pool := notes(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := postgres.InBatches(ctx, pool, func(*pgx.Batch) {}, func(_ pgx.Tx, batch, _ *pgx.Batch) error {
		batch.Queue("INSERT INTO notes VALUES ('cancelled')")
		cancel()
		return nil
	})
	if err == nil || written(t, pool) != "" {
		t.Errorf("got error %v, written %q; want an error and nothing", err, written(t, pool))
	}
}

func TestInBatches_through_PgBouncer(t *testing.T) {
	pool := open(t, testkit.NewPgBouncer(t, testkit.DatabaseURL(t)))
	var timeout string
	for range 3 {
		err := postgres.InBatches(t.Context(), pool, func(batch *pgx.Batch) {
			batch.Queue("CREATE TABLE IF NOT EXISTS notes (text text)")
			batch.Queue("SELECT current_setting('statement_timeout')").QueryRow(func(row pgx.Row) error { return row.Scan(&timeout) })
		}, func(_ pgx.Tx, batch, _ *pgx.Batch) error {
			batch.Queue("DELETE FROM notes")
			return nil
		})
		if err != nil || timeout != "15s" {
			t.Errorf("got timeout %q, error %v; want 15s", timeout, err)
		}
	}
}
