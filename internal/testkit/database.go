// Package testkit gives tests what they need around them. It is imported by tests only.
//
// Database gives each test a database of its own, cloned from a migrated template on a private
// Postgres that keeps its data in memory. `go run ./internal/testkit/cluster -- go test ./...`
// starts one for a whole run; a test binary that runs by itself starts its own with the first
// database that is asked for.
package testkit

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

const (
	// databaseTimeout bounds each step around a test's database; they take milliseconds.
	databaseTimeout = 30 * time.Second
	// maxConns keeps a test from taking the connections of those that run beside it.
	maxConns = 8
)

// Database gives the test an empty, migrated database of its own, closed and dropped when the test
// has ended. Nothing done in it is seen by another test.
func Database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), DatabaseURL(t),
		postgres.WithMaxConns(maxConns), postgres.WithApplicationName(applicationName(t.Name())))
	if err != nil {
		t.Fatalf("open the test's database: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// DatabaseURL is Database for tests that connect by themselves: the address of the new database,
// which is dropped when the test has ended, whoever is still connected.
func DatabaseURL(t testing.TB) string {
	t.Helper()
	address, err := clusterURL()
	if err != nil {
		t.Fatalf("no Postgres for the test: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := administer(address, func(ctx context.Context, conn *pgx.Conn) error {
		return clone(ctx, conn, address, name)
	}); err != nil {
		t.Fatalf("make the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := administer(address, func(ctx context.Context, conn *pgx.Conn) error {
			if err := awaitNobody(ctx, conn, name); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			return err
		}); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return withDatabase(address, name)
}

// applicationName is the test's name, as short as Postgres wants it.
func applicationName(name string) string {
	const limit = 63 // bytes, NAMEDATALEN-1
	return name[:min(len(name), limit)]
}

// withDatabase is the address of another database of the same server.
func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // whoever connects says what is wrong with it
	}
	u.Path = "/" + name
	return u.String()
}

// admin is this process's one connection that makes and drops databases.
var admin struct {
	sync.Mutex
	conn *pgx.Conn
}

// administer runs fn on the admin connection, made when there is none or it broke.
func administer(address string, fn func(context.Context, *pgx.Conn) error) error {
	admin.Lock()
	defer admin.Unlock()
	// Not the test's context, which ends before its clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
	defer cancel()
	if admin.conn == nil || admin.conn.IsClosed() {
		conn, err := pgx.Connect(ctx, address)
		if err != nil {
			return err
		}
		admin.conn = conn
	}
	return fn(ctx, admin.conn)
}

// migrate brings one database up to date.
func migrate(ctx context.Context, address string) error {
	pool, err := postgres.Open(ctx, address, postgres.WithMaxConns(1))
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool, migrations.FS); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	return nil
}

// awaitNobody waits, a moment at most, until a database that was just left has no backend: one
// takes about a millisecond to end, but a statement that finds it still there waits for 100.
func awaitNobody(ctx context.Context, conn *pgx.Conn, name string) error {
	const tries, between = 50, time.Millisecond
	for range tries {
		var connected int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name).Scan(&connected)
		if err != nil || connected == 0 {
			return err
		}
		time.Sleep(between)
	}
	return nil
}
