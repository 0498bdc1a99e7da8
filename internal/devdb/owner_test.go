package devdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestStart_SecondOwner(t *testing.T) {
	cfg := dataConfig(t)
	h := startHelper(t, cfg.DataDir)
	_, err := Start(t.Context(), cfg)
	if _, ok := errors.AsType[*OwnedError](err); !ok {
		t.Errorf("error %v, want an *OwnedError", err)
	}
	mustSay(t, err, fmt.Sprintf("pid %d", h.cmd.Process.Pid), cfg.DataDir, "another DATA_DIR", "DATABASE_URL")
	mustExec(t, h.URL, "SELECT 1") // the owner isn't disturbed
}

func TestStart_FailureReleasesDataDir(t *testing.T) {
	cfg := dataConfig(t)
	faulty := cfg
	faulty.Settings = map[string]string{"max_connections": "nonsense"}
	_, err := Start(t.Context(), faulty)
	mustSay(t, err, "max_connections")
	mustExec(t, mustStart(t, cfg).URL(), "SELECT 1")
}

// The format of owner.lock is shared with other versions of the program.
func TestStart_PublishesOwner(t *testing.T) {
	cfg := dataConfig(t)
	s := mustStart(t, cfg)
	var content map[string]int
	text, err := os.ReadFile(filepath.Join(cfg.DataDir, "owner.lock"))
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	if err != nil || len(content) != 2 || content["pid"] != os.Getpid() || content["port"] != int(s.port) {
		t.Errorf("owner.lock has %s, %v", text, err)
	}
}

// Only Linux has a signal for orphans.
func TestStart_KilledServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends the Postgres of a killed server")
	}
	cfg := dataConfig(t)
	h := startHelper(t, cfg.DataDir)
	h.kill()
	// All processes of Postgres inherited the lock.
	folder, err := os.Open(h.Folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	mustNotAnswer(t, h.URL)
	if _, err := os.Stat(filepath.Join(h.Folder, "postmaster.pid")); err == nil {
		t.Error("Postgres left its pid file: it didn't end in order")
	}
}

func TestStart_AfterKilledServer(t *testing.T) {
	cfg := dataConfig(t)
	h := startHelper(t, cfg.DataDir)
	mustExec(t, h.URL, "CREATE TABLE kept AS SELECT 1")
	h.kill()
	s := mustStart(t, cfg) // waits for the old Postgres
	mustNotAnswer(t, h.URL)
	mustExec(t, s.URL(), "SELECT * FROM kept")
}

func TestOwnOrAttach(t *testing.T) {
	t.Run("attaches_to_a_running_server", func(t *testing.T) {
		cfg := dataConfig(t)
		h := startHelper(t, cfg.DataDir)
		s, err := OwnOrAttach(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !s.attached || s.URL() != h.URL {
			t.Error("it didn't attach to the running Postgres")
		}
		mustExec(t, s.URL(), "CREATE TABLE attached AS SELECT 1")
		for range 2 {
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		<-s.Done()
		mustExec(t, h.URL, "SELECT * FROM attached")
	})
	t.Run("owns_otherwise", func(t *testing.T) {
		s, err := OwnOrAttach(t.Context(), dataConfig(t))
		if err != nil {
			t.Fatal(err)
		}
		if s.attached {
			t.Error("attached to nothing")
		}
		mustExec(t, s.URL(), "SELECT 1")
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
		mustNotAnswer(t, s.URL())
	})
	// The owner.lock of a killed owner still has its port.
	t.Run("ignores_a_killed_owner", func(t *testing.T) {
		cfg := dataConfig(t)
		startHelper(t, cfg.DataDir).kill()
		s, err := OwnOrAttach(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Stop(context.Background()) }()
		if s.attached {
			t.Error("attached to the Postgres of a killed owner")
		}
	})
	t.Run("ends_with_its_context", func(t *testing.T) {
		cfg := dataConfig(t)
		s := mustStart(t, cfg)
		if err := s.publish(0); err != nil { // as while it starts
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := OwnOrAttach(ctx, cfg); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

// The Postgres of a short command is about to stop: others wait for its end.
func TestStart_WaitsForShortLivedOwner(t *testing.T) {
	for name, begin := range map[string]func(context.Context, Config) (*Server, error){"Start": Start, "OwnOrAttach": OwnOrAttach} {
		t.Run(name, func(t *testing.T) {
			cfg := dataConfig(t)
			h := startHelper(t, cfg.DataDir, "DEVDB_TEST_SHORT_LIVED=1")
			result := make(chan error)
			go func() {
				s, err := begin(t.Context(), cfg)
				if err == nil && s.attached {
					err = errors.New("it attached")
				}
				if err == nil {
					err = s.Stop(context.Background())
				}
				result <- err
			}()
			h.finish()
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
}
