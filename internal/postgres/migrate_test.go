package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/migrations"
)

// files makes migrations of the given statements, numbered from 1.
func files(statements ...string) fstest.MapFS {
	made := fstest.MapFS{"embed.go": {Data: []byte("package x")}}
	for i, statement := range statements {
		name := "0000" + string(rune('1'+i)) + "_step.sql"
		made[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + statement + ";\n")}
	}
	return made
}

// blank makes a database without tables, and returns its address.
func blank(t *testing.T) string {
	t.Helper()
	url := testkit.DatabaseURL(t)
	pool := open(t, url)
	for _, statement := range []string{"DROP SCHEMA public CASCADE", "CREATE SCHEMA public"} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// count is the number that a query gives.
func count(t *testing.T, pool *pgxpool.Pool, query string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// pending asks for pending migrations.
func pending(t *testing.T, pool *pgxpool.Pool, files fs.FS) bool {
	t.Helper()
	some, err := postgres.Pending(t.Context(), pool, files)
	if err != nil {
		t.Fatalf("pending: %v", err)
	}
	return some
}

func TestMigrateAndPending(t *testing.T) {
	pool := open(t, blank(t))
	first := files("CREATE TABLE a (n int)")
	if !pending(t, pool, first) {
		t.Error("nothing is pending in a blank database")
	}
	if tables := count(t, pool, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
		t.Errorf("asking made %d tables", tables)
	}
	for range 2 {
		if err := postgres.Migrate(t.Context(), pool, first); err != nil {
			t.Fatalf("migrate: %v", err)
		}
		if pending(t, pool, first) {
			t.Error("pending after migrating")
		}
	}
	second := files("CREATE TABLE a (n int)", "INSERT INTO a VALUES (1)")
	if !pending(t, pool, second) {
		t.Error("the new migration is not pending")
	}
	if err := postgres.Migrate(t.Context(), pool, second); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	if n := count(t, pool, "SELECT count(*) FROM a"); n != 1 {
		t.Errorf("the second migration ran %d times", n)
	}
	if pending(t, pool, first) {
		t.Error("to an older program, a newer database looks as if something were pending")
	}
}

// Neither of the statements can be run twice, and each pool is what another instance has. The
// first takes so long that all others come meanwhile.
func TestMigrateAtOnce(t *testing.T) {
	url := blank(t)
	steps := files("SELECT pg_sleep(0.2); CREATE TABLE a (n int)", "INSERT INTO a VALUES (1)")
	var instances sync.WaitGroup
	for range 8 {
		pool := open(t, url, postgres.WithMaxConns(1))
		instances.Go(func() {
			if err := postgres.Migrate(t.Context(), pool, steps); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	instances.Wait()
	if n := count(t, open(t, url), "SELECT count(*) FROM a"); n != 1 {
		t.Errorf("the second migration ran %d times", n)
	}
}

func TestMigrateWaitsNoLongerThanItsContext(t *testing.T) {
	url := blank(t)
	pool := open(t, url)
	holder, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Release()
	if _, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock($1)", postgres.MigrationLock); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- postgres.Migrate(ctx, pool, files("CREATE TABLE a (n int)")) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestFailingMigrationLeavesThoseBeforeIt(t *testing.T) {
	pool := open(t, blank(t))
	steps := files("CREATE TABLE a (n int)", "INSERT INTO a VALUES (1); SELECT 1/0")
	err := postgres.Migrate(t.Context(), pool, steps)
	if refusal := new(pgconn.PgError); !errors.As(err, &refusal) || refusal.Code != "22012" {
		t.Errorf("error %v, want division_by_zero", err)
	}
	if n := count(t, pool, "SELECT count(*) FROM a"); n != 0 {
		t.Errorf("the failed migration left %d rows", n)
	}
	if !pending(t, pool, steps) {
		t.Error("the failed migration counts as applied")
	}
}

func TestMigrationMayTakeLongerThanAQuery(t *testing.T) {
	pool := open(t, blank(t)+"&statement_timeout=20")
	if err := postgres.Migrate(t.Context(), pool, files("SELECT pg_sleep(0.1)")); err != nil {
		t.Errorf("migrate: %v", err)
	}
}

func TestPendingNamesAFileWithoutANumber(t *testing.T) {
	pool := open(t, blank(t))
	_, err := postgres.Pending(t.Context(), pool, fstest.MapFS{"seed.sql": {}})
	if err == nil || !strings.Contains(err.Error(), "seed.sql") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestOwnMigrations(t *testing.T) {
	if pending(t, testkit.Database(t), migrations.FS) {
		t.Error("a test's database has pending migrations")
	}
}
