package devdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestStart_KeepsData(t *testing.T) {
	cfg, terminal := emptyConfig(t), &bytes.Buffer{}
	cfg.Terminal = terminal
	s := mustStart(t, cfg)
	lines, _ := screen(terminal.String())
	if line := lines[0]; len(lines) != 1 || !strings.HasPrefix(line, "Creating a private Postgres ") || !strings.Contains(line, ": done in ") {
		t.Errorf("the terminal shows %q", lines)
	}
	mustExec(t, s.URL(), "CREATE TABLE kept AS SELECT 1")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	mustExec(t, mustStart(t, cfg).URL(), "SELECT * FROM kept")
}

// The name has characters with a meaning in patterns, and the path is longer than that of a socket
// may be.
func TestStart_OddFolderName(t *testing.T) {
	cfg := emptyConfig(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "with space [and] * \\ 'quotes' "+strings.Repeat("long", 40))
	if err := mustStart(t, cfg).Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	mustExec(t, mustStart(t, cfg).URL(), "SELECT 1")
}

func TestStart_RetriesTakenPort(t *testing.T) {
	taken := mustStart(t, dataConfig(t)).port
	free := freePort
	defer func() { freePort = free }()
	attempts := 0
	freePort = func(ctx context.Context) (uint16, error) {
		if attempts++; attempts < portAttempts {
			return taken, nil
		}
		return free(ctx)
	}
	mustExec(t, mustStart(t, dataConfig(t)).URL(), "SELECT 1")
	if attempts != portAttempts {
		t.Errorf("%d attempts, want %d", attempts, portAttempts)
	}
	freePort = func(context.Context) (uint16, error) { return taken, nil }
	if _, err := Start(t.Context(), dataConfig(t)); !errors.Is(err, errPortTaken) {
		t.Errorf("error %v, want errPortTaken", err)
	}
}

// A Ctrl-C in the terminal signals the foreground process group.
func TestStart_OwnProcessGroup(t *testing.T) {
	pid := mustStart(t, dataConfig(t)).child.Process.Pid
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d, %v; want %d", group, err, pid)
	}
}

func TestStart_ListensOnLoopbackOnly(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var addresses string
	if err := conn.QueryRow(t.Context(), "SHOW listen_addresses").Scan(&addresses); err != nil || addresses != loopback {
		t.Errorf("listens on %q, %v", addresses, err)
	}
	if _, err := os.Stat(filepath.Join(s.path, fmt.Sprintf(".s.PGSQL.%d", s.port))); err != nil {
		t.Errorf("the socket isn't in the data folder: %v", err)
	}
}

func TestStart_DropsRoot(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	if uid := ownerOf(t, filepath.Join(s.path, "postmaster.pid")); uid == 0 {
		t.Error("Postgres runs as root")
	}
}

func TestStart_RootKeepsOwnerOfData(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	cfg := dataConfig(t)
	if out, err := exec.Command("chown", "-R", "nobody", cfg.DataDir).CombinedOutput(); err != nil {
		t.Skipf("chown: %v: %s", err, out)
	}
	s := mustStart(t, cfg)
	mustExec(t, s.URL(), "SELECT 1")
	if uid, want := ownerOf(t, filepath.Join(s.path, "postmaster.pid")), ownerOf(t, s.path); uid != want {
		t.Errorf("Postgres runs as user id %d, want %d", uid, want)
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

// Postgres's environment has neither secrets nor variables that redirect it.
func TestServer_command(t *testing.T) {
	for name, value := range map[string]string{"PATH": "/bin", "PGPORT": "1", "KEY_PEPPER": "secret", "LANG": "de_DE.UTF-8"} {
		t.Setenv(name, value)
	}
	env := (&Server{path: "/data"}).command(t.Context(), syscall.SIGINT, "postgres").Env
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains([]string{"PGDATA", "LC_ALL", "PATH", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}, name) {
			t.Errorf("unexpected %s", entry)
		}
	}
	if !slices.Contains(env, "PATH=/bin") || !slices.Contains(env, "LC_ALL=C") {
		t.Errorf("environment %q", env)
	}
}

func TestServer_Err(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	if err := s.Err(); err != nil {
		t.Errorf("while Postgres runs: %v", err)
	}
	mustExec(t, s.URL(), "SELECT 'personal data'")
	_ = s.child.Process.Kill()
	<-s.Done()
	mustSay(t, s.Err(), "killed", "ready to accept connections")
	if err := s.Stop(t.Context()); err == nil {
		t.Error("Stop hides the crash")
	}
}

// The output of Postgres has no text of queries: not of failed ones, nor of those that crash it.
func TestServer_OutputHasNoQueries(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_, _ = conn.Exec(t.Context(), "SELECT 'secret'::int")
	done := make(chan struct{})
	go func() {
		_, _ = conn.Exec(context.Background(), "SELECT pg_sleep(60), 'secret'")
		close(done)
	}()
	observer, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = observer.Close(context.Background()) }()
	err = poll(t.Context(), func() (active bool, err error) {
		const query = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
		err = observer.QueryRow(t.Context(), query).Scan(&active)
		return active, err
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(int(conn.PgConn().PID()), syscall.SIGKILL)
	<-done
	// Until it has recovered from the crash, Postgres may not react to a shutdown.
	err = poll(t.Context(), func() (bool, error) {
		return strings.Count(s.output.String(), "ready to accept connections") == 2, nil
	})
	if output := s.output.String(); err != nil || strings.Contains(output, "secret") || !strings.Contains(output, "terminated by signal 9") {
		t.Errorf("%v; output:\n%s", err, output)
	}
}

func TestServer_Stop(t *testing.T) {
	t.Run("concurrently_and_repeatedly", func(t *testing.T) {
		s := mustStart(t, dataConfig(t))
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
	})
	t.Run("rolls_back_open_transactions", func(t *testing.T) {
		s := mustStart(t, dataConfig(t))
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
	})
	t.Run("kills_after_context", func(t *testing.T) {
		cfg := dataConfig(t)
		s := mustStart(t, cfg)
		mustExec(t, s.URL(), "CREATE TABLE kept AS SELECT 1")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = s.child.Process.Signal(syscall.SIGSTOP) // it can't end by itself
		if err := s.Stop(ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("stop: %v, want context.Canceled", err)
		}
		mustExec(t, mustStart(t, cfg).URL(), "SELECT * FROM kept")
	})
}

func TestOutput_KeepsTheEnd(t *testing.T) {
	o := &output{}
	_, _ = o.Write([]byte(strings.Repeat("x\n", 8<<10)))
	_, _ = o.Write([]byte("last\n"))
	if text := o.String(); len(text) > 8<<10 || !strings.HasSuffix(text, "x\nlast") {
		t.Errorf("%d bytes are kept", len(text))
	}
}
