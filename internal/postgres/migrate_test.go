package postgres_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
	"ratelimiter/migrations"
)

// files returns migrations with the given statements, numbered from 1.
func files(statements ...string) fstest.MapFS {
	made := fstest.MapFS{"embed.go": {Data: []byte("package x")}}
	for i, statement := range statements {
		name := "0000" + string(rune('1'+i)) + "_step.sql"
		made[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + statement + ";\n")}
	}
	return made
}

// blank creates a database without tables and returns its address.
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

// count returns the number that a query selects.
func count(t *testing.T, pool *pgxpool.Pool, query string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// pending reports whether migrations are pending.
func pending(t *testing.T, pool *pgxpool.Pool, files fs.FS) bool {
	t.Helper()
	some, err := postgres.Pending(t.Context(), pool, files)
	if err != nil {
		t.Fatalf("pending: %v", err)
	}
	return some
}

func TestMigrate_AppliesPending(t *testing.T) {
	pool := open(t, blank(t))
	first := files("CREATE TABLE a (n int)")
	if !pending(t, pool, first) {
		t.Error("nothing is pending in a blank database")
	}
	if tables := count(t, pool, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
		t.Errorf("Pending created %d tables", tables)
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
		t.Error("migrations are pending for an older program on a newer database")
	}
}

// Neither of the statements can run twice, and each pool is another instance's. The first takes so
// long that the others arrive while it runs.
func TestMigrate_Concurrently(t *testing.T) {
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

func TestMigrate_EndsWithContext(t *testing.T) {
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

func TestMigrate_Failure(t *testing.T) {
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
		t.Error("the failed migration is recorded as applied")
	}
}

func TestMigrate_HasNoStatementTimeout(t *testing.T) {
	pool := open(t, blank(t)+"&statement_timeout=20")
	if err := postgres.Migrate(t.Context(), pool, files("SELECT pg_sleep(0.1)")); err != nil {
		t.Errorf("migrate: %v", err)
	}
}

func TestPending_FileWithoutNumber(t *testing.T) {
	pool := open(t, blank(t))
	_, err := postgres.Pending(t.Context(), pool, fstest.MapFS{"seed.sql": {}})
	if err == nil || !strings.Contains(err.Error(), "seed.sql") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestPending_ProductMigrations(t *testing.T) {
	if pending(t, testkit.Database(t), migrations.FS) {
		t.Error("the database of a test has pending migrations")
	}
}

// A private Postgres may listen elsewhere than the URL of the pool says.
func TestMigrate_FollowsBeforeConnect(t *testing.T) {
	target, err := pgx.ParseConfig(blank(t))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.NewPool("postgres://?sslmode=disable", postgres.WithBeforeConnect(func(_ context.Context, conn *pgx.ConnConfig) error {
		conn.Host, conn.Port, conn.Database, conn.User, conn.Password = target.Host, target.Port, target.Database, target.User, target.Password
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(t.Context(), pool, files("CREATE TABLE a (n int)")); err != nil {
		t.Errorf("migrate: %v", err)
	}
}

// Pending looks at the numbered files alone: a new version of River's tables needs one, which may be
// empty.
func TestMigrate_River(t *testing.T) {
	pool := testkit.Database(t)
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := migrator.Validate(t.Context(), nil)
	if err != nil || !result.OK {
		t.Errorf("River's migrations: %+v, error %v", result, err)
	}
	const covered = 8 // by 00071_queue.sql
	if versions := migrator.AllVersions(); versions[len(versions)-1].Version != covered {
		t.Errorf("River has migrations after %d: add a numbered file, so that they are pending", covered)
	}
}
