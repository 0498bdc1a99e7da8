package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestSecondOwnerIsRefused(t *testing.T) {
	cfg := madeConfig(t)
	h := startHelper(t, cfg.DataDir)
	_, err := Start(t.Context(), cfg)
	refused := new(OwnedError)
	if !errors.As(err, &refused) || refused.PID != h.cmd.Process.Pid {
		t.Fatalf("error %v, want an *OwnedError with pid %d", err, h.cmd.Process.Pid)
	}
	for _, part := range []string{fmt.Sprintf("pid %d", h.cmd.Process.Pid), cfg.DataDir, "another DATA_DIR", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	exec1(t, h.URL, "SELECT 1") // the owner is not disturbed
}

func TestOwnershipEndsWithStop(t *testing.T) {
	cfg := madeConfig(t)
	if err := start(t, cfg).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := mustOwn(t, cfg.DataDir).Release(); err != nil {
		t.Errorf("release: %v", err)
	}
}

// A failed start must not keep the folder from the next one.
func TestOwnershipEndsWithAFailedStart(t *testing.T) {
	cfg := madeConfig(t)
	faulty := cfg
	faulty.Settings = map[string]string{"max_connections": "nonsense"}
	if _, err := Start(t.Context(), faulty); err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Fatalf("error %v, want one that names max_connections", err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT 1")
}

func TestKilledServerLeavesNoPostgres(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no signal for orphans")
	}
	cfg := madeConfig(t)
	h := startHelper(t, cfg.DataDir)
	h.kill()
	// Postgres has inherited the folder's lock: that it can be had says that all of it has ended.
	folder, err := os.Open(h.Folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	answersNot(t, h.URL)
	if _, err := os.Stat(filepath.Join(folder.Name(), "postmaster.pid")); err == nil {
		t.Error("Postgres did not end in order: its pid file is there")
	}
}

func TestTakingOverFromAKilledServer(t *testing.T) {
	cfg := madeConfig(t)
	h := startHelper(t, cfg.DataDir)
	exec1(t, h.URL, "CREATE TABLE kept AS SELECT 1")
	h.kill()
	s := start(t, cfg) // without a pause: it waits by itself
	answersNot(t, h.URL)
	exec1(t, s.URL(), "SELECT * FROM kept")
}

// answersNot checks that a Postgres is gone.
func answersNot(t *testing.T, url string) {
	t.Helper()
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the Postgres still runs")
	}
}

// Where no signal ends the orphan, as on macOS, the next owner does.
func TestTakingOverFromAPostgresThatStays(t *testing.T) {
	cfg := mustDefaults(t, madeConfig(t))
	c, err := findCluster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.startServer(t.Context()) // its DATA_DIR is nobody's, as after the owner's death
	if err != nil {
		t.Fatal(err)
	}
	path := s.folder.path
	if err := s.folder.close(); err != nil { // this process dies, so to speak
		t.Fatal(err)
	}
	told := 0
	f, err := openFolderWithin(t.Context(), path, 0, func(pid int) {
		if told++; pid != s.child.cmd.Process.Pid {
			t.Errorf("told %d to end, want %d", pid, s.child.cmd.Process.Pid)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.close() }()
	<-s.Done()
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

func TestWaitForTheOldPostgresEndsWithTheContext(t *testing.T) {
	s := start(t, madeConfig(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openFolder(ctx, s.folder.path, func(int) { t.Error("told to end without patience") })
	if pid := fmt.Sprintf("kill -INT %d", s.child.cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), pid) {
		t.Errorf("error %v, want one that says %q", err, pid)
	}
}

func TestAttachWhileServing(t *testing.T) {
	cfg := madeConfig(t)
	h := startHelper(t, cfg.DataDir)
	s, err := OwnOrAttach(t.Context(), cfg)
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	if !s.Attached() || s.URL() != h.URL {
		t.Errorf("attached %t to another Postgres", s.Attached())
	}
	exec1(t, s.URL(), "CREATE TABLE attached AS SELECT 1")
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	<-s.Done()
	exec1(t, h.URL, "SELECT * FROM attached")
}

func TestOwnForAShortLife(t *testing.T) {
	cfg := madeConfig(t)
	s, err := OwnOrAttach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Attached() {
		t.Error("attached to nothing")
	}
	exec1(t, s.URL(), "SELECT 1")
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	answersNot(t, s.URL())
}

// A short command's Postgres is about to stop: nobody attaches to it, everybody waits for its end.
func TestBriefOwnersAreWaitedFor(t *testing.T) {
	for name, begin := range map[string]func(context.Context, Config) (*Server, error){
		"serve": Start, "another short command": OwnOrAttach,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := madeConfig(t)
			h := startHelper(t, cfg.DataDir, "POSTGRES_TEST_BRIEF=1")
			type result struct {
				s   *Server
				err error
			}
			begun := make(chan result)
			go func() {
				s, err := begin(t.Context(), cfg)
				begun <- result{s, err}
			}()
			h.finish()
			got := <-begun
			if got.err != nil {
				t.Fatalf("after the brief owner: %v", got.err)
			}
			defer func() { _ = got.s.Stop(context.Background()) }()
			if got.s.Attached() {
				t.Error("attached to a Postgres that stops")
			}
		})
	}
}

// What a dead owner wrote must not lead anybody to the port that it had.
func TestStaleOwnerIsNotAttachedTo(t *testing.T) {
	cfg := madeConfig(t)
	startHelper(t, cfg.DataDir).kill()
	if stale := readOwner(cfg.DataDir); stale.port == 0 {
		t.Fatal("the killed owner left no port behind: this test tests nothing")
	}
	s, err := OwnOrAttach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	if s.Attached() {
		t.Error("attached to a dead owner's Postgres")
	}
}
