package postgres_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// open opens a pool that the test's end closes.
func open(t *testing.T, url string, options ...postgres.Option) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url, options...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// setting returns a server setting of the pool's connections.
func setting(t *testing.T, pool *pgxpool.Pool, name string) string {
	t.Helper()
	var value string
	if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOpen_Settings(t *testing.T) {
	url := testkit.DatabaseURL(t)
	cases := map[string]struct {
		url      string
		options  []postgres.Option
		settings map[string]string
		conns    int32
	}{
		"defaults": {url, nil, map[string]string{
			"application_name": "ratelimiter", "statement_timeout": "15s", "idle_in_transaction_session_timeout": "15s", "TimeZone": "UTC",
		}, 16},
		"URL_overrides_defaults": {
			url + "&pool_max_conns=3&statement_timeout=7000&application_name=url", nil,
			map[string]string{"application_name": "url", "statement_timeout": "7s"}, 3,
		},
		"options_override_URL": {
			url + "&pool_max_conns=3&statement_timeout=7000&application_name=url",
			[]postgres.Option{
				postgres.WithMaxConns(2), postgres.WithStatementTimeout(0), postgres.WithApplicationName("option"),
			},
			map[string]string{"application_name": "option", "statement_timeout": "0"}, 2,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pool := open(t, c.url, c.options...)
			if conns := pool.Config().MaxConns; conns != c.conns {
				t.Errorf("at most %d connections, want %d", conns, c.conns)
			}
			for name, want := range c.settings {
				if value := setting(t, pool, name); value != want {
					t.Errorf("%s is %q, want %q", name, value, want)
				}
			}
		})
	}
}

func TestNewPool_DoesNotConnect(t *testing.T) {
	pool, err := postgres.NewPool("postgres://127.0.0.1:1/none?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Check(t.Context(), pool); !postgres.IsUnavailable(err) {
		t.Errorf("check: %v, want an unavailable database", err)
	}
}

func TestOpen_ErrorsHidePassword(t *testing.T) {
	right := testkit.DatabaseURL(t)
	cases := map[string]string{
		"invalid_URL":    "postgres://user:s3cret@host:port-that-is-none/db",
		"no_server":      "postgres://user:s3cret@127.0.0.1:1/db",
		"wrong_password": strings.Replace(right, "ratelimiter:", "ratelimiter:s3cret", 1),
	}
	for name, url := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := postgres.Open(t.Context(), url)
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %v, want one without the password", err)
			}
		})
	}
}

// One query uses the only connection for longer than the other may wait.
func TestWithAcquireTimeout(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(1), postgres.WithAcquireTimeout(time.Second))
	long := make(chan error)
	go func() {
		_, err := pool.Exec(t.Context(), "SELECT pg_sleep(1.5)")
		long <- err
	}()
	for pool.Stat().AcquiredConns() == 0 {
		runtime.Gosched()
	}
	if _, err := pool.Exec(t.Context(), "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a free connection: %v, want context.DeadlineExceeded", err)
	}
	if err := <-long; err != nil {
		t.Errorf("a query that takes longer than the acquire timeout: %v", err)
	}
}
