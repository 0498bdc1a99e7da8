// Package testkit provides databases, HTTP clients, browsers and proxies for tests.
//
// Database creates a database for each test, cloned from a migrated template on a private
// Postgres cluster that keeps its data in memory. `go run ./internal/testkit/cluster -- go test
// ./...` starts a cluster for the whole run; otherwise, each test binary starts its own when it
// first needs one.
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
	// databaseTimeout bounds creating or dropping a database, which takes milliseconds.
	databaseTimeout = 30 * time.Second
	// maxConns leaves connections to tests that run in parallel.
	maxConns = 8
)

// Database creates a migrated database for the test and connects to it. It is closed and dropped at
// the end of the test.
func Database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), DatabaseURL(t), postgres.WithMaxConns(maxConns))
	if err != nil {
		t.Fatalf("open the test database: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// DatabaseURL creates a migrated database for the test and returns its URL. At the end of the test,
// the remaining connections are terminated and the database is dropped.
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
		t.Fatalf("create the test database: %v", err)
	}
	t.Cleanup(func() {
		if err := administer(address, func(ctx context.Context, conn *pgx.Conn) error {
			if err := awaitDisconnect(ctx, conn, name); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			return err
		}); err != nil {
			t.Errorf("drop the test database: %v", err)
		}
	})
	return withDatabase(address, name)
}

// withDatabase returns the URL of another database of the same server.
func withDatabase(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // connecting to it reports the error
	}
	u.Path = "/" + name
	return u.String()
}

// admin is the connection of this process that creates and drops databases.
var admin struct {
	sync.Mutex
	conn *pgx.Conn
}

// administer runs fn on the admin connection. It connects if necessary.
func administer(address string, fn func(context.Context, *pgx.Conn) error) error {
	admin.Lock()
	defer admin.Unlock()
	// The context of the test is canceled before its cleanup.
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

// migrate migrates one database.
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

// awaitDisconnect waits up to 50 ms until a database has no connections. A closed connection takes
// about 1 ms to end; a statement that needs exclusive access retries only every 100 ms.
func awaitDisconnect(ctx context.Context, conn *pgx.Conn, name string) error {
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
