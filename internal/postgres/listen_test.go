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
func listen(t *testing.T, pool *pgxpool.Pool) *postgres.Listening {
	t.Helper()
	l, err := postgres.Listen(t.Context(), pool, "news")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func say(t *testing.T, pool *pgxpool.Pool, text string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `SELECT pg_notify('news', $1)`, text); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsSaidIsHeardInOrderAlsoWhatComesBesideAQuery(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t))
	l := listen(t, pool)
	if payload, heard, err := l.Wait(t.Context(), time.Millisecond); heard || err != nil {
		t.Errorf("in silence there was %q, %v", payload, err)
	}
	for i := range 5 {
		say(t, pool, strconv.Itoa(i))
	}
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		payload, heard, err := l.Wait(t.Context(), 5*time.Second)
		if !heard || err != nil || payload != strconv.Itoa(i) {
			t.Errorf("heard %q, %t, %v; want %d", payload, heard, err, i)
		}
	}
}

func TestListenGoesWhereThePoolGoesNow(t *testing.T) {
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
		t.Error("it didn't go through the proxy")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("that nobody answers was noticed after %s", took)
	}
	if _, _, err := l.Wait(t.Context(), time.Second); err == nil {
		t.Error("a lost connection is waited on without an error")
	}
}

func TestAWaitEndsWithItsContextAndWithItsConnection(t *testing.T) {
	pool := open(t, testkit.DatabaseURL(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := listen(t, pool).Wait(ctx, time.Minute); err == nil {
		t.Error("the context has ended, and the wait has no error")
	}
	l := listen(t, pool)
	if _, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, l.Conn().PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Wait(t.Context(), 10*time.Second); err == nil {
		t.Error("the connection was ended, and the wait has no error")
	}
}
