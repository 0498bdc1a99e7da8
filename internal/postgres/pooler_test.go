package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

func TestPool_through_PgBouncer(t *testing.T) {
	for name, settings := range map[string][]string{
		"refuses parameters": nil,
		"ignores parameters": {"ignore_startup_parameters=statement_timeout,idle_in_transaction_session_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			url := testkit.NewPgBouncer(t, testkit.DatabaseURL(t), settings...)
			pool := open(t, url)
			var clients sync.WaitGroup
			for range 32 {
				clients.Go(func() {
					for i := range 20 {
						var n int
						sql := fmt.Sprintf("SELECT $1::int + %d", i%5)
						if err := pool.QueryRow(t.Context(), sql, 1).Scan(&n); err != nil || n != 1+i%5 {
							t.Errorf("%s: got %d, error %v", sql, n, err)
						}
					}
				})
			}
			clients.Wait()

			err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				var statement, idle string
				err := tx.QueryRow(t.Context(), "SELECT current_setting('statement_timeout'), current_setting($1)", "idle_in_transaction_session_timeout").
					Scan(&statement, &idle)
				if statement != "15s" || idle != "15s" {
					t.Errorf("got timeouts %s and %s in a transaction; want 15s", statement, idle)
				}
				return err
			})
			if got := setting(t, pool, "statement_timeout"); err != nil || got != "0" {
				t.Errorf("got statement_timeout %s, error %v; want none left on the server's connection", got, err)
			}
			facts, err := postgres.Inspect(t.Context(), pool)
			if err != nil || !facts.Pooler {
				t.Errorf("got facts %+v, error %v; want a pooler", facts, err)
			}
			listener, err := postgres.Listen(t.Context(), pool, "changes")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			var channels int
			if err := listener.Conn().QueryRow(t.Context(), "SELECT count(*) FROM pg_listening_channels()").Scan(&channels); err != nil || channels != 0 {
				t.Errorf("got %d channels, error %v; want none on the server's connection", channels, err)
			}
			if _, ok, err := listener.Wait(t.Context(), time.Millisecond); !listener.Polling() || ok || err != nil {
				t.Errorf("got polling %t, a notification: %t, error %v", listener.Polling(), ok, err)
			}
		})
	}
}

// Through a pooler a lock of the session excludes nobody.
func TestMigrate_through_PgBouncer(t *testing.T) {
	pool := open(t, testkit.NewPgBouncer(t, blank(t)))
	err := postgres.Migrate(t.Context(), pool, files("CREATE TABLE a (n int)"))
	if err == nil || !strings.Contains(err.Error(), "DATABASE_LISTEN_URL") {
		t.Errorf("got error %v; want it to name DATABASE_LISTEN_URL", err)
	}
	if n := count(t, pool, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("got %d tables; want none", n)
	}
}

func TestPool_direct(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t), postgres.WithMaxConns(1))
	if got := setting(t, pool, "statement_timeout"); got != "15s" {
		t.Errorf("got statement_timeout %s; want 15s", got)
	}
	if count(t, pool, "SELECT count(*) FROM pg_prepared_statements") == 0 {
		t.Error("a direct connection prepares no statements")
	}
	listener, err := postgres.Listen(t.Context(), pool, "changes")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if listener.Polling() {
		t.Error("a direct connection polls")
	}
}

func TestCheckSame(t *testing.T) {
	url := testkit.DatabaseURL(t)
	a, b, other := open(t, url), open(t, testkit.NewPgBouncer(t, url)), testkit.Database(t)
	if err := postgres.CheckSame(t.Context(), a, b); err != nil {
		t.Error(err)
	}
	if err := postgres.CheckSame(t.Context(), a, other); !errors.Is(err, postgres.ErrOtherDatabase) {
		t.Errorf("got error %v; want ErrOtherDatabase", err)
	}
}

func TestInspect(t *testing.T) {
	facts, err := postgres.Inspect(t.Context(), open(t, testkit.DatabaseURL(t)+"&default_transaction_read_only=on"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"fsync", "synchronous_commit", "full_page_writes"}; !slices.Equal(facts.Off, want) || len(facts.DurabilityWarnings()) != len(want) {
		t.Errorf("got %v off; want %v, as the test cluster has", facts.Off, want)
	}
	if !facts.ReadOnly || facts.Standby || facts.Pooler || facts.Encoding != "UTF8" || facts.Version == "" || facts.ClockAhead.Abs() > facts.ClockError+time.Second {
		t.Errorf("got facts %+v", facts)
	}
}
