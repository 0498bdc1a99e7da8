package liveproof

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/changefeed"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/quota"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

const pepper = "a pepper for tests only"

// patience is how long anything may take that should take seconds.
const patience = time.Minute

// server is a server in a process of its own, whose addresses stay the same.
type server struct {
	t         testing.TB
	env       []string
	base, ops string // URLs
	cmd       *exec.Cmd
}

// newServer starts a server on a database, which is stopped at the end of the test.
func newServer(t testing.TB, database string) *server {
	t.Helper()
	api, ops := testkit.LoopbackAddress(t), testkit.LoopbackAddress(t)
	s := &server{t: t, base: "http://" + api, ops: "http://" + ops}
	s.env = append(os.Environ(), "DATABASE_URL="+database, "KEY_PEPPER="+pepper, "DATA_DIR="+t.TempDir(),
		"HTTP_ADDR="+api, "OPS_ADDR="+ops, "PAYMENT_URL=http://127.0.0.1:1", "SMTP_URL=smtp://127.0.0.1:1?from=shop@example.com", "LOG_LEVEL=error")
	s.start()
	s.awaitReady()
	t.Cleanup(func() { s.kill() })
	return s
}

func (s *server) start() {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(path, "serve")
	s.cmd.Env = s.env
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// kill kills the process with SIGKILL and waits for its end.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) awaitReady() {
	s.t.Helper()
	await(s.t, s.base+" is ready", func() bool {
		response, err := http.Get(s.base + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// metric returns the value of a metric without labels; -1: there is none.
func (s *server) metric(name string) float64 {
	response, err := http.Get(s.ops + "/metrics")
	if err != nil {
		return -1
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return -1
	}
	_, rest, found := strings.Cut(string(text), "\n"+name+" ")
	value, err := strconv.ParseFloat(strings.SplitN(rest, "\n", 2)[0], 64)
	if !found || err != nil {
		return -1
	}
	return value
}

// await polls a condition until it holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	testkit.Await(t, patience, what, holds)
}

// shop is a database with owners, their keys and orders, and the servers on it.
type shop struct {
	t       testing.TB
	db      *pgxpool.Pool
	keys    map[string]string // by owner
	orders  []models.EventStream
	servers []*server
}

// openShop returns a shop with two owners of some orders each.
func openShop(t testing.TB, servers, orders int) *shop {
	t.Helper()
	database := testkit.DatabaseURL(t)
	s := &shop{t: t, keys: map[string]string{}}
	var err error
	if s.db, err = postgres.Open(t.Context(), database, postgres.WithMaxConns(8), postgres.WithApplicationName("liveproof")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	peppers, err := apikeys.ParsePeppers(pepper)
	if err != nil {
		t.Fatal(err)
	}
	none := changefeed.NoCaches{}
	keys := apikeys.NewStore(s.db, peppers, quota.NewPlans(s.db, none), none)
	for _, owner := range []string{"ann", "bob"} {
		_, text, err := keys.Create(models.WithActor(t.Context(), "test"), models.NewKey{Name: owner, Owner: owner, Plan: "internal"})
		if err != nil {
			t.Fatal(err)
		}
		s.keys[owner] = text
		for n := range orders {
			stream := models.EventStream{Owner: owner, Order: fmt.Sprint("ord_", owner, n)}
			s.exec(`INSERT INTO orders (id, owner, email, payment_token, total_amount, total_currency) VALUES ($1, $2, 'a@example.com', 't', 1, 'EUR')`, stream.Order, owner)
			s.orders = append(s.orders, stream)
		}
	}
	for range servers {
		s.servers = append(s.servers, newServer(t, database))
	}
	return s
}

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(context.WithoutCancel(s.t.Context()), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// count returns the number of events of a stream.
func (s *shop) count(stream models.EventStream) (n int64) {
	s.t.Helper()
	err := s.db.QueryRow(context.WithoutCancel(s.t.Context()), `SELECT count(*) FROM order_events WHERE owner = $1 AND $2 IN ('', order_id)`, stream.Owner, stream.Order).Scan(&n)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
