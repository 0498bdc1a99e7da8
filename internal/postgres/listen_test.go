package postgres_test

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// listen listens to the channel "news" until the test ends.
func listen(t *testing.T, pool *pgxpool.Pool) *postgres.Listener {
	t.Helper()
	l, err := postgres.Listen(t.Context(), pool, "news")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// notify sends a notification on the channel "news".
func notify(t *testing.T, pool *pgxpool.Pool, text string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `SELECT pg_notify('news', $1)`, text); err != nil {
		t.Fatal(err)
	}
}

// Notifications that arrive during a query are kept.
func TestListener_Wait_InOrder(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t))
	l := listen(t, pool)
	if payload, ok, err := l.Wait(t.Context(), time.Millisecond); ok || err != nil {
		t.Errorf("got %q, %v without a notification", payload, err)
	}
	for i := range 5 {
		notify(t, pool, strconv.Itoa(i))
	}
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		payload, ok, err := l.Wait(t.Context(), 5*time.Second)
		if !ok || err != nil || payload.Payload != strconv.Itoa(i) {
			t.Errorf("got %q, %t, %v; want %d", payload, ok, err, i)
		}
	}
}

func TestListen_FollowsBeforeConnect(t *testing.T) {
	address := testkit.DatabaseURL(t)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testkit.NewProxy(t, u.Host)
	host, port, err := net.SplitHostPort(proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	moved := false
	pool := open(t, address, func(c *pgxpool.Config) {
		c.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
			if moved {
				conn.Host, conn.Port = host, uint16(number)
			}
			return nil
		}
	})
	moved = true
	l := listen(t, pool)
	proxy.Hang()
	began := time.Now()
	if err := l.Ping(t.Context()); err == nil {
		t.Error("the connection didn't use the proxy")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the ping failed only after %s", took)
	}
	if _, _, err := l.Wait(t.Context(), time.Second); err == nil {
		t.Error("waiting on a lost connection has no error")
	}
}

func TestListener_Wait_Ends(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := listen(t, pool).Wait(ctx, time.Minute); err == nil {
		t.Error("the context ended, but Wait has no error")
	}
	l := listen(t, pool)
	if _, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, l.Conn().PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Wait(t.Context(), 10*time.Second); err == nil {
		t.Error("the connection was terminated, but Wait has no error")
	}
}
