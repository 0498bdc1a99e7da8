package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// A state of the database is unavailability, invalid data is permanent, and
// everything that is neither is a bug.
func TestClassify_states(t *testing.T) {
	const unavailable, permanent, neither = "unavailable", "permanent", "neither"
	for state, want := range map[string]string{
		"08006": unavailable, "25006": unavailable, "3F000": unavailable, "40001": unavailable, "40P01": unavailable, "42P01": unavailable,
		"53100": unavailable, "53200": unavailable, "53300": unavailable, "55000": unavailable, "55P03": unavailable,
		"57014": unavailable, "57P01": unavailable, "57P03": unavailable, "58030": unavailable,
		"22001": permanent, "22003": permanent, "23505": permanent, "23514": permanent,
		"42703": neither, "42501": neither, "25P02": neither, "XX000": neither,
	} {
		err := fmt.Errorf("write: %w", &pgconn.PgError{Code: state})
		got := neither
		switch {
		case errors.Is(postgres.Classify("op", err), models.ErrUnavailable):
			got = unavailable
		case postgres.IsPermanent(err):
			got = permanent
		}
		if got != want || postgres.IsUnavailable(err) != (want == unavailable) {
			t.Errorf("%s is %s, want %s", state, got, want)
		}
		if full := state == "53100"; postgres.IsDiskFull(err) != full {
			t.Errorf("IsDiskFull of %s, want %t", state, full)
		}
	}
	for err, want := range map[error]bool{
		nil: false, context.Canceled: false, context.DeadlineExceeded: false, errors.New("can't be encoded"): true,
		pgx.ErrTxClosed: true,
	} {
		if got := postgres.IsPermanent(err); got != want {
			t.Errorf("IsPermanent(%v) = %t", err, got)
		}
	}
}

// A pool follows a failover: it closes connections to a server that became
// read-only.
func TestPool_read_only(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(1))
	backend := func() (pid int) {
		if err := pool.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	writable := func() bool {
		ok, err := postgres.Writable(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if before := backend(); !writable() || backend() != before {
		t.Error("a writable connection was closed, or found read-only")
	}
	demote := func() (pid int) {
		if _, err := pool.Exec(t.Context(), "SET default_transaction_read_only = on"); err != nil {
			t.Fatal(err)
		}
		return backend()
	}
	before := demote()
	if _, err := pool.Exec(t.Context(), "CREATE TABLE notes (n int)"); !postgres.IsUnavailable(err) {
		t.Errorf("a write to a read-only database: %v, want unavailable", err)
	}
	if backend() == before {
		t.Error("a connection was kept after a write failed because its server is read-only")
	}
	before = demote()
	if writable() || backend() == before || !writable() {
		t.Error("Writable kept a read-only connection")
	}
}
