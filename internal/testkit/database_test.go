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

// childVariable, when set, makes this test binary a process that takes a database, says where and
// waits to be killed.
const childVariable = "TESTKIT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		url, err := clusterURL()
		_, _ = fmt.Fprintln(os.Stdout, url, err)
		select {}
	}
	goleak.VerifyTestMain(m)
}

// products counts a table of the migrations.
func products(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM products").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabasesAreApart(t *testing.T) {
	one, other := Database(t), Database(t)
	before := products(t, other)
	if _, err := one.Exec(t.Context(), "TRUNCATE products CASCADE"); err != nil {
		t.Fatal(err)
	}
	if n := products(t, one); n != 0 {
		t.Errorf("%d products after truncating", n)
	}
	if n := products(t, other); n != before || n == 0 {
		t.Errorf("%d products in the other database, want the migrations' %d", n, before)
	}
	if n := products(t, Database(t)); n != before {
		t.Errorf("%d products in a new database, want %d", n, before)
	}
}

func TestDatabaseIsDroppedWithWhoeverIsConnected(t *testing.T) {
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
		t.Error("the connection that the test left lives on")
	}
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database is still there")
	}
}

func TestDatabasesAtOnce(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			products(t, Database(t))
		})
	}
}

// A process that was killed while it made the template left a database that is not whole; several
// processes find it at once.
func TestTemplateIsMadeOnceAndWhole(t *testing.T) {
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
			if err := makeTemplate(t.Context(), conn, address, name); err != nil {
				t.Errorf("make the template: %v", err)
			}
		})
	}
	processes.Wait()
	var n int
	if err := connect(t, withDatabase(address, name)).QueryRow(t.Context(), "SELECT count(*) FROM products").Scan(&n); err != nil || n == 0 {
		t.Errorf("%d products in the template: %v", n, err)
	}
}

// connect makes a connection that the test's end closes.
func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// A test binary that runs by itself has a cluster of its own, which ends with it even when it is
// killed.
func TestKilledTestLeavesNoCluster(t *testing.T) {
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
		t.Fatalf("the child said %q: %v", line, err)
	}
	conn := connect(t, url) // it will be told of the end
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if _, err := conn.WaitForNotification(t.Context()); err == nil {
		t.Error("a notification instead of the end")
	}
}
