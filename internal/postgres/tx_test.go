package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// notes returns a pool of one connection on a database with an empty table notes.
func notes(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(1))
	if _, err := pool.Exec(t.Context(), "CREATE TABLE notes (text text)"); err != nil {
		t.Fatal(err)
	}
	return pool
}

// note inserts a row.
func note(t *testing.T, tx pgx.Tx, text string) {
	t.Helper()
	if _, err := tx.Exec(t.Context(), "INSERT INTO notes VALUES ($1)", text); err != nil {
		t.Fatal(err)
	}
}

// written returns the text of all rows.
func written(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var all string
	err := pool.QueryRow(t.Context(), "SELECT coalesce(string_agg(text, ' ' ORDER BY text), '') FROM notes").Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestInTx(t *testing.T) {
	errRefused := errors.New("refused")
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		note(t, tx, "committed")
		inner := postgres.InTx(t.Context(), tx, func(tx pgx.Tx) error { // a savepoint
			note(t, tx, "inner")
			return errRefused
		})
		if !errors.Is(inner, errRefused) {
			t.Errorf("inner: %v, want the function's error", inner)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	err = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		note(t, tx, "refused")
		return errRefused
	})
	if !errors.Is(err, errRefused) {
		t.Errorf("error %v, want the function's", err)
	}
	if all := written(t, pool); all != "committed" {
		t.Errorf("written: %q, want what was committed", all)
	}
}

func TestInTx_Panic(t *testing.T) {
	pool := notes(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("InTx recovered the panic")
			}
		}()
		_ = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			note(t, tx, "panicked")
			panic("a bug")
		})
	}()
	if all := written(t, pool); all != "" { // it also needs the only connection
		t.Errorf("written: %q, want nothing", all)
	}
}

// The transaction of a cancelled caller is rolled back, and its connection returns to the pool.
func TestInTx_ContextEnded(t *testing.T) {
	pool := notes(t)
	backend := func() (pid int) {
		if err := pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := backend()
	ctx, cancel := context.WithCancel(t.Context())
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		note(t, tx, "cancelled")
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if all := written(t, pool); all != "" {
		t.Errorf("written: %q, want nothing", all)
	}
	if after := backend(); after != before {
		t.Errorf("the connection was replaced: backend %d, then %d", before, after)
	}
}

// A failed statement aborts the transaction even if the function ignores the error.
func TestInTx_IgnoredError(t *testing.T) {
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		note(t, tx, "lost")
		_, _ = tx.Exec(t.Context(), "SELECT 1/0")
		return nil
	})
	if !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("error %v, want pgx.ErrTxCommitRollback", err)
	}
}

func TestOnCommit(t *testing.T) {
	pool := notes(t)
	if _, err := pool.Exec(t.Context(), "ALTER TABLE notes ADD UNIQUE (text) DEFERRABLE INITIALLY DEFERRED"); err != nil {
		t.Fatal(err)
	}
	var called []string
	fn := func(name string) func() { return func() { called = append(called, name) } }
	run := func(db postgres.Beginner, name string, then func(pgx.Tx) error) error {
		return postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
			postgres.OnCommit(tx, fn(name))
			err := then(tx)
			if len(called) > 0 {
				t.Errorf("called before the commit: %v", called)
			}
			return err
		})
	}
	if err := run(pool, "rolled back", func(pgx.Tx) error { return errors.New("no") }); err == nil {
		t.Error("got no error")
	}
	if err := run(pool, "refused commit", func(tx pgx.Tx) error { note(t, tx, "a"); note(t, tx, "a"); return nil }); err == nil {
		t.Error("got no error of the commit")
	}
	if err := run(pool, "outer", func(tx pgx.Tx) error {
		return run(tx, "inner", func(pgx.Tx) error { return nil })
	}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(called, []string{"outer", "inner"}) {
		t.Errorf("got %v", called)
	}
}
