package postgres

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// exec1 runs one statement on a new connection.
func exec1(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestDataIsKeptBetweenRuns(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	exec1(t, s.URL(), "CREATE TABLE kept AS SELECT 1")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT * FROM kept")
}

// The folder's name has spaces and characters that mean something in patterns, and a path that is
// longer than a socket's may be.
func TestOddFolderName(t *testing.T) {
	cfg := testConfig(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "with space [and] * \\ 'quotes' "+strings.Repeat("long", 40))
	s := start(t, cfg)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT 1")
}

func TestProductRoleIsNoSuperuser(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), start(t, madeConfig(t)).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), "COPY (SELECT 1) TO PROGRAM 'true'")
	if refusal := new(pgconn.PgError); !errors.As(err, &refusal) || refusal.Code != "42501" {
		t.Errorf("COPY TO PROGRAM: %v, want insufficient_privilege", err)
	}
}

func TestPostgresIsNotRoot(t *testing.T) {
	s := start(t, madeConfig(t))
	info, err := os.Stat(filepath.Join(s.folder.path, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 {
		t.Error("postmaster.pid belongs to root")
	}
}

// Data that an unprivileged user made is run as that user, when root comes later.
func TestRootKeepsTheOwnerOfTheData(t *testing.T) {
	nobody, err := lookup("nobody")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("this needs root and a user nobody")
	}
	cfg := madeConfig(t)
	if out, err := exec.Command("chown", "-R", "nobody", cfg.DataDir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	s := start(t, cfg)
	exec1(t, s.URL(), "SELECT 1")
	info, err := os.Stat(filepath.Join(s.folder.path, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != nobody.uid {
		t.Errorf("Postgres runs as user id %d, want %d", uid, nobody.uid)
	}
}

func TestStopIsIdempotent(t *testing.T) {
	s := start(t, madeConfig(t))
	var stops sync.WaitGroup
	for range 4 {
		stops.Go(func() {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	stops.Wait()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("one more stop: %v", err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}
}

// A client that stays connected, in a transaction even, does not hold the shutdown up.
func TestStopDoesNotWaitForClients(t *testing.T) {
	s := start(t, madeConfig(t))
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), "BEGIN; CREATE TABLE lost ()"); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStopWithoutPatienceKills(t *testing.T) {
	cfg := madeConfig(t)
	s := start(t, cfg)
	exec1(t, s.URL(), "CREATE TABLE kept AS SELECT 1")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s.child.signal(syscall.SIGSTOP) // it can't end by itself now
	if err := s.Stop(over); !errors.Is(err, context.Canceled) {
		t.Fatalf("stop: %v, want context.Canceled", err)
	}
	// What the fsync-less server had written is there all the same: only the process died.
	exec1(t, start(t, cfg).URL(), "SELECT * FROM kept")
}

func TestCrashIsNoticed(t *testing.T) {
	s := start(t, madeConfig(t))
	if err := s.Err(); err != nil {
		t.Fatalf("Err while running: %v", err)
	}
	s.child.signal(syscall.SIGKILL)
	<-s.Done()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err: %v, want what ended it", err)
	}
	if err := s.Stop(t.Context()); err == nil {
		t.Error("Stop hides the crash")
	}
}

func TestPortTakenMeanwhile(t *testing.T) {
	taken := start(t, madeConfig(t)).port
	c, err := findCluster(t.Context(), mustDefaults(t, madeConfig(t)))
	if err != nil {
		t.Fatal(err)
	}
	ports := []int{taken, taken, 0}
	c.freePort = func(ctx context.Context) (int, error) {
		port := ports[0]
		ports = ports[1:]
		if port != 0 {
			return port, nil
		}
		return freePort(ctx)
	}
	s, err := c.startServer(t.Context())
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	s.ownership = mustOwn(t, c.cfg.DataDir)
	defer func() { _ = s.Stop(context.Background()) }()
	if len(ports) != 0 {
		t.Errorf("%d ports were not tried", len(ports))
	}
	exec1(t, s.URL(), "SELECT 1")
}

func mustDefaults(t *testing.T, cfg Config) Config {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func mustOwn(t *testing.T, dataDir string) *Ownership {
	t.Helper()
	o, err := Own(t.Context(), dataDir)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
