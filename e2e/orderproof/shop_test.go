package orderproof

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
)

// Names of the processes. Each has the same address after each start.
const (
	server1, server2, gateway = "server-1", "server-2", "gateway"
)

var processes = []string{gateway, server1, server2}

// shop runs servers and the payment gateway as processes of their own, on a Postgres
// with fsync. The mail server is in this process.
type shop struct {
	testing.TB
	cluster *testkit.DurableCluster
	db      *pgxpool.Pool
	mail    *testkit.MailServer
	env     []string // of all processes
	folder  string
	api     map[string]string // base URL of each process
	ops     map[string]string
	admin   string   // key
	buyers  []string // keys, each of another owner, without limits
	read    int      // emails of earlier tests
	servers servers  // of this test
	keepers map[string]*keeper
}

// servers are the servers of a test.
type servers struct {
	names    []string
	fault    string   // a broken variant's; empty: the product
	settings []string // in addition to the defaults
}

// keeper keeps a process running.
type keeper struct {
	ended chan struct{} // closed when it is no longer kept

	mu     sync.Mutex
	child  *child // nil: it is being started
	ending bool
}

// child is a process.
type child struct {
	cmd *exec.Cmd
	in  io.Closer
}

// openShop starts the gateway, which also creates the keys. All processes are stopped
// at the end of the test.
func openShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{
		TB: t, cluster: testkit.NewDurableCluster(t), mail: testkit.NewMailServer(t), folder: t.TempDir(),
		api: map[string]string{}, ops: map[string]string{}, keepers: map[string]*keeper{},
	}
	var err error
	if s.db, err = testkit.OpenAddressFile(s.cluster.AddressFile); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	for _, name := range processes {
		s.api[name], s.ops[name] = "http://"+testkit.LoopbackAddress(t), "http://"+testkit.LoopbackAddress(t)
	}
	s.env = append(os.Environ(),
		childAddress+"="+s.cluster.AddressFile, "GORACE=atexit_sleep_ms=0", "KEY_PEPPER=a pepper for tests only",
		"SMTP_URL=smtp://"+s.mail.Addr()+"?from=shop@example.com")
	t.Cleanup(func() {
		s.stopServers()
		s.end(gateway)
	})
	s.keep(gateway)
	s.awaitReady(gateway)
	s.admin = s.devKey()
	for i := range 4 {
		var created struct{ Key string }
		s.call(gateway, http.MethodPost, "/v1/admin/keys", map[string]any{"name": "buyer", "plan": "internal", "owner": fmt.Sprint("own_buyer", i)}, http.StatusCreated, &created)
		s.buyers = append(s.buyers, created.Key)
	}
	return s
}

// reopen starts the servers of a test, unless they run already, and forgets all
// orders.
func (s *shop) reopen(t testing.TB, want servers) {
	t.Helper()
	s.TB = t
	if !reflect.DeepEqual(s.servers, want) {
		s.stopServers()
		defer s.startServers()
	}
	s.servers, s.read = want, len(s.mail.Received())
	s.exec(`TRUNCATE orders, order_items, order_events, idempotency_keys, river_job, dead_letters, queue_inbox,
		dev_gateway.orders, dev_gateway.authorizations, dev_gateway.ledger, dev_gateway.requests`)
}

func (s *shop) startServers() {
	s.Helper()
	for _, name := range s.servers.names {
		s.keep(name)
	}
	for _, name := range s.servers.names {
		s.awaitReady(name)
	}
}

// stopServers stops the servers in order.
func (s *shop) stopServers() {
	for _, name := range s.servers.names {
		s.end(name)
	}
}

// mails returns the emails of this test.
func (s *shop) mails() []testkit.Mail { return s.mail.Received()[s.read:] }

// devKey returns the admin key that dev mode created.
func (s *shop) devKey() string {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.folder, gateway, "dev-keys.json"))
	var keys struct{ Admin string }
	if err == nil {
		err = json.Unmarshal(data, &keys)
	}
	if err != nil {
		s.Fatal(err)
	}
	return keys.Admin
}

// environment returns that of a process.
func (s *shop) environment(name string) []string {
	list := append(slices.Clone(s.env), "DATA_DIR="+filepath.Join(s.folder, name),
		"HTTP_ADDR="+s.api[name][len("http://"):], "OPS_ADDR="+s.ops[name][len("http://"):])
	if name == gateway {
		return append(list, childRole+"="+roleGateway)
	}
	list = append(list, childRole+"="+roleServer, childFault+"="+s.servers.fault, "PAYMENT_URL="+s.ops[gateway]+"/dev/gateway")
	return append(list, s.servers.settings...)
}

// start starts a process. Its log is added to a file.
func start(env []string, logFile string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = env
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in}, cmd.Start()
}

func (s *shop) logFile(name string) string { return filepath.Join(s.folder, name+".log") }

// keep runs a process, and again when it was killed, until end.
func (s *shop) keep(name string) {
	k := &keeper{ended: make(chan struct{})}
	s.keepers[name] = k
	env, logFile, t := s.environment(name), s.logFile(name), s.TB
	go func() {
		defer close(k.ended)
		for {
			k.mu.Lock()
			if k.ending {
				k.mu.Unlock()
				return
			}
			c, err := start(env, logFile)
			if err != nil {
				k.mu.Unlock()
				t.Error(err)
				return
			}
			k.child = c
			k.mu.Unlock()
			_ = c.cmd.Wait() // it says how it was killed, or that Postgres is starting
			_ = c.in.Close()
			k.mu.Lock()
			k.child = nil
			k.mu.Unlock()
		}
	}()
}

// end ends a process in order, if there is one.
func (s *shop) end(name string) {
	k := s.keepers[name]
	if k == nil {
		return
	}
	k.mu.Lock()
	k.ending = true
	if k.child != nil {
		_ = k.child.in.Close()
	}
	k.mu.Unlock()
	<-k.ended
	delete(s.keepers, name)
}

// kill kills a process, or Postgres, with SIGKILL.
func (s *shop) kill(name string) {
	if name == postgresName {
		if err := s.cluster.Kill(); err != nil {
			s.Fatal(err)
		}
		return
	}
	for k, killed := s.keepers[name], false; !killed; {
		k.mu.Lock()
		if k.child != nil {
			killed = k.child.cmd.Process.Kill() == nil
		}
		k.mu.Unlock()
		if !killed {
			time.Sleep(time.Millisecond) // it is being started
		}
	}
}

// postgresName is what kill calls Postgres.
const postgresName = "postgres"

// patience is how long anything may take that should take seconds.
const patience = 2 * time.Minute

// await waits until done, and fails the test after some minutes.
func (s *shop) await(what string, limit time.Duration, done func() bool) {
	s.Helper()
	testkit.Await(s, limit, what, done)
}

func (s *shop) awaitReady(name string) {
	s.Helper()
	s.await(name, patience, func() bool {
		status, _ := s.send(http.MethodGet, s.api[name]+"/readyz", "", nil)
		return status == http.StatusOK
	})
}

// callTimeout is longer than the server's timeout of a request.
const callTimeout = 35 * time.Second

var httpClient = &http.Client{Timeout: callTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// call sends a request with the admin key until it gets an answer other than 5xx,
// and wants this status.
func (s *shop) call(name, method, path string, body any, want int, out any) {
	s.Helper()
	s.callURL(s.api[name]+path, method, body, want, out)
}

func (s *shop) callURL(url, method string, body any, want int, out any) {
	s.Helper()
	var status int
	var answer []byte
	s.await(method+" "+url, patience, func() bool {
		status, answer = s.send(method, url, s.admin, body)
		return status != 0 && status < 500
	})
	if status != want {
		s.Fatalf("%s %s: got status %d, %s; want %d", method, url, status, answer, want)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(answer, out); err != nil {
		s.Fatalf("%s %s: %v in %s", method, url, err, answer)
	}
}

// query returns the rows of a query, which is repeated while Postgres restarts.
func query[T any](s *shop, scan pgx.RowToFunc[T], sql string, args ...any) (list []T) {
	s.Helper()
	s.await(sql, patience, func() bool {
		rows, err := s.db.Query(context.WithoutCancel(s.Context()), sql, args...)
		if err == nil {
			list, err = pgx.CollectRows(rows, scan)
		}
		return err == nil
	})
	return list
}

func (s *shop) count(sql string, args ...any) int {
	s.Helper()
	return query(s, pgx.RowTo[int], sql, args...)[0]
}

func (s *shop) exec(sql string, args ...any) {
	s.Helper()
	if _, err := s.db.Exec(context.WithoutCancel(s.Context()), sql, args...); err != nil {
		s.Fatal(err)
	}
}
