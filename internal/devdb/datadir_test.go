package devdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestPresentMajor(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"postgres-9", "postgres-14", "postgres-15", "postgres-20.unfinished-1", "other-30", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "PG_VERSION"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "postgres-16")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "postgres-17"), 0o700); err != nil { // without data
		t.Fatal(err)
	}
	if major := presentMajor(dir); major != 16 {
		t.Errorf("%d, want 16, which is a link to data", major)
	}
	if major := presentMajor(t.TempDir()); major != 0 {
		t.Errorf("%d, want 0 in an empty folder", major)
	}
}

func TestStart_RemovesUnfinishedFolders(t *testing.T) {
	cfg := emptyConfig(t)
	left := filepath.Join(cfg.DataDir, "postgres-15"+unfinished+"123")
	if err := os.MkdirAll(filepath.Join(left, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustExec(t, mustStart(t, cfg).URL(), "SELECT 1")
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of an interrupted initdb still exists: %v", err)
	}
}

// A failed or interrupted initdb leaves no data folder behind.
func TestStart_InterruptedInitdb(t *testing.T) {
	cfg := emptyConfig(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = poll(ctx, func() (bool, error) {
			found, _ := filepath.Glob(filepath.Join(cfg.DataDir, "*", "PG_VERSION"))
			return len(found) > 0, nil
		})
		cancel()
	}()
	if _, err := Start(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if left, err := filepath.Glob(filepath.Join(cfg.DataDir, "postgres-*")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	mustExec(t, mustStart(t, cfg).URL(), "SELECT 1")
}

// After a crash another process may have the pid of the pid file. Here it is one of Postgres's own
// user, which Postgres by itself would take for a running Postgres.
func TestStart_StalePIDFile(t *testing.T) {
	cfg := dataConfig(t)
	path := folderPath(cfg.DataDir, presentMajor(cfg.DataDir))
	account, err := chooseAccount(path)
	if err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command("sleep", "600")
	bystander.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bystander.Process.Kill(), bystander.Wait() }()
	lines := strings.Join([]string{strconv.Itoa(bystander.Process.Pid), path, "1700000000", "5432", ".", loopback, "1 1", "ready   "}, "\n")
	if err := os.WriteFile(filepath.Join(path, "postmaster.pid"), []byte(lines+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustExec(t, mustStart(t, cfg).URL(), "SELECT 1")
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other process was ended: %v", err)
	}
}

// A Postgres that the operator started by hand doesn't hold the lock.
func TestStart_PostgresStartedByHand(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	if err := errors.Join(syscall.Flock(int(s.folder.Fd()), syscall.LOCK_UN), syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN)); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), s.cfg)
	mustSay(t, err, "started by hand")
	mustExec(t, s.URL(), "SELECT 1")
}

// Where no signal ends an orphan, as on macOS, the next owner does.
func TestServer_openFolder(t *testing.T) {
	s := mustStart(t, dataConfig(t))
	next := &Server{cfg: s.cfg, path: s.path}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	mustSay(t, next.openFolder(ended, orphanPatience), fmt.Sprintf("kill -QUIT %d", s.child.Process.Pid), s.path)
	_ = next.folder.Close()
	mustExec(t, s.URL(), "SELECT 1")

	_ = s.folder.Close() // as if this process ended
	if err := next.openFolder(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.folder.Close() }()
	<-s.Done()
	if err := s.Err(); err != nil {
		t.Errorf("Postgres wasn't stopped in order: %v", err)
	}
}

func TestStart_FileModes(t *testing.T) {
	cfg := emptyConfig(t)
	cfg.DataDir = filepath.Join(cfg.DataDir, "made")
	s := mustStart(t, cfg)
	for path, want := range map[string]os.FileMode{
		cfg.DataDir: 0o700 | os.ModeDir, s.path: 0o700 | os.ModeDir,
		passwordPath(cfg.DataDir): 0o600, filepath.Join(cfg.DataDir, "owner.lock"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestStart_Password(t *testing.T) {
	t.Run("removed", func(t *testing.T) {
		cfg := dataConfig(t)
		before, err := readPassword(cfg.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(passwordPath(cfg.DataDir)); err != nil {
			t.Fatal(err)
		}
		s := mustStart(t, cfg)
		mustExec(t, s.URL(), "SELECT 1")
		if after, err := readPassword(cfg.DataDir); err != nil || after == before || after != s.password {
			t.Errorf("the password wasn't replaced: %v", err)
		}
	})
	t.Run("edited_before_the_first_start", func(t *testing.T) {
		cfg := emptyConfig(t)
		if err := os.WriteFile(passwordPath(cfg.DataDir), []byte("x' SUPERUSER PASSWORD 'y @/?"), 0o600); err != nil {
			t.Fatal(err)
		}
		mustExec(t, mustStart(t, cfg).URL(), "DO $$ BEGIN ASSERT (SELECT NOT rolsuper FROM pg_roles WHERE rolname = current_user); END $$")
	})
	for name, text := range map[string]string{"another": strings.Repeat("A", 26), "edited": "secret'; DROP TABLE users", "empty": ""} {
		t.Run(name, func(t *testing.T) {
			cfg := dataConfig(t)
			if err := os.WriteFile(passwordPath(cfg.DataDir), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), cfg)
			mustSay(t, err, passwordPath(cfg.DataDir), "remove the file")
			if text != "" && err != nil && strings.Contains(err.Error(), text) {
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
}

func TestStart_Advice(t *testing.T) {
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ folder, want string }{
		"full":      {disk(t, "size=12m"), "the disk is full"},
		"read_only": {disk(t, "ro"), "the disk is read-only"},
		"closed":    {closed, "this user may not use the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.folder == "" || c.folder == closed && os.Geteuid() == 0 {
				t.Skip("root can write everywhere, and others can't mount a disk")
			}
			cfg := emptyConfig(t)
			cfg.DataDir = c.folder
			_, err := Start(t.Context(), cfg)
			mustSay(t, err, c.want, "DATA_DIR")
		})
	}
}

// disk mounts a file system in memory. It returns "" where that isn't allowed.
func disk(t *testing.T, options string) string {
	t.Helper()
	folder := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder).Run(); err != nil {
		return ""
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return folder
}
