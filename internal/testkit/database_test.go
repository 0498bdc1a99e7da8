package testkit

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
)

// childVariable, when set, makes this test binary start a cluster, print its URL and wait to be
// killed.
const childVariable = "TESTKIT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		url, err := clusterURL()
		_, _ = fmt.Fprintln(os.Stdout, url, err)
		select {}
	}
	goleak.VerifyTestMain(m)
}

// products returns the number of products.
func products(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM products").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabase_isolated(t *testing.T) {
	one, other := Database(t), Database(t)
	before := products(t, other)
	if _, err := one.Exec(t.Context(), "TRUNCATE products CASCADE"); err != nil {
		t.Fatal(err)
	}
	if n := products(t, one); n != 0 {
		t.Errorf("got %d products after TRUNCATE; want 0", n)
	}
	if n := products(t, other); n != before || n == 0 {
		t.Errorf("got %d products in the other database; want the %d of the migrations", n, before)
	}
	if n := products(t, Database(t)); n != before {
		t.Errorf("got %d products in a new database; want %d", n, before)
	}
}

func TestDatabaseURL_drops_with_open_connections(t *testing.T) {
	var url string
	var left *pgx.Conn
	t.Run("test", func(t *testing.T) {
		url = DatabaseURL(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		left = conn
	})
	if err := left.Ping(t.Context()); err == nil {
		t.Error("the open connection still works")
	}
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database still exists")
	}
}

func TestDatabase_parallel(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			products(t, Database(t))
		})
	}
}

// Several processes find the incomplete template of a killed process at the same time.
func TestEnsureTemplate_replaces_incomplete(t *testing.T) {
	address := DatabaseURL(t)
	name := "template_of_test_" + strings.ToLower(rand.Text())
	conn := connect(t, address)
	t.Cleanup(func() {
		for _, statement := range []string{"ALTER DATABASE " + name + " IS_TEMPLATE false", "DROP DATABASE " + name} {
			if _, err := connect(t, address).Exec(context.Background(), statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	var processes sync.WaitGroup
	for range 4 {
		conn := connect(t, address)
		processes.Go(func() {
			if err := ensureTemplate(t.Context(), conn, address, name); err != nil {
				t.Errorf("ensureTemplate: %v", err)
			}
		})
	}
	processes.Wait()
	var n int
	if err := connect(t, withDatabase(address, name)).QueryRow(t.Context(), "SELECT count(*) FROM products").Scan(&n); err != nil || n == 0 {
		t.Errorf("got %d products in the template, error %v", n, err)
	}
}

// connect opens a connection and closes it at the end of the test.
func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// The cluster of a test binary stops even if the binary is killed.
func TestClusterURL_killed_process(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), childVariable+"=1", urlVariable+"=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, fault, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || fault != "<nil>" {
		t.Fatalf("the child printed %q: %v", line, err)
	}
	conn := connect(t, url)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if _, err := conn.WaitForNotification(t.Context()); err == nil {
		t.Error("got a notification; want the end of the connection")
	}
}
