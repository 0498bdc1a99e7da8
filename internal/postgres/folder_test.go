package postgres

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestInterruptedInitdbIsMadeAnew(t *testing.T) {
	cfg := mustDefaults(t, testConfig(t))
	cfg.DataDir = filepath.Join(cfg.DataDir, "odd [name]* ?")
	c, err := findCluster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	left := folderPath(cfg.DataDir, c.install.Major) + unfinished + "123"
	if err := os.MkdirAll(filepath.Join(left, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT 1")
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what initdb left is still there: %v", err)
	}
}

// After a crash the pid file's number may be any process's; here it is one of Postgres's own user,
// which Postgres by itself takes for the old server.
func TestStalePidFile(t *testing.T) {
	cfg := mustDefaults(t, madeConfig(t))
	c, err := findCluster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	bystander := exec.Command("sleep", "600")
	bystander.SysProcAttr = &syscall.SysProcAttr{Credential: c.account.credential()}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bystander.Process.Kill(), bystander.Wait() }()

	path := folderPath(cfg.DataDir, c.install.Major)
	pid := strconv.Itoa(bystander.Process.Pid)
	lines := strings.Join([]string{pid, path, "1700000000", "5432", ".", loopback, "1 1", "ready   "}, "\n")
	if err := os.WriteFile(filepath.Join(path, "postmaster.pid"), []byte(lines+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exec1(t, start(t, cfg).URL(), "SELECT 1")
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a bystander was killed: %v", err)
	}
}

// A Postgres that an operator started by hand has no part in the lock.
func TestPostgresStartedByHandIsLeftAlone(t *testing.T) {
	cfg := mustDefaults(t, madeConfig(t))
	c, err := findCluster(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := folderPath(cfg.DataDir, c.install.Major)
	f, err := openFolder(t.Context(), path, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.serve(t.Context(), f, mustPassword(t, cfg.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.child.signal(syscall.SIGINT)
		<-s.Done()
	}()
	if err := syscall.Flock(int(f.file.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), cfg)
	if pid := strconv.Itoa(s.child.cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), "kill -INT "+pid) {
		t.Errorf("error %v, want one that says how to stop %s", err, pid)
	}
	exec1(t, s.URL(), "SELECT 1")
}

func TestDataOfAnotherMajor(t *testing.T) {
	cfg := testConfig(t)
	if err := os.Mkdir(folderPath(cfg.DataDir, 99), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PG_BINDIR", "")
	major, err := presentMajor(cfg.DataDir)
	if err != nil || major != 99 {
		t.Errorf("presentMajor: %d, %v", major, err)
	}
	system := mustDefaults(t, cfg).Finder
	system.Package = system.Fetch // install nothing on the machine that tests
	cfg.Finder = system
	_, err = Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "Postgres 99") || !strings.Contains(err.Error(), "DATA_DIR") {
		t.Errorf("error %v, want one that names Postgres 99 and DATA_DIR", err)
	}
}

func TestPresentMajorIsTheHighest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"postgres-9", "postgres-15", "postgres-14", "postgres-20.unfinished-1", "other-30", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "postgres-40"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "postgres-16")); err != nil {
		t.Fatal(err)
	}
	if major, err := presentMajor(dir); err != nil || major != 16 {
		t.Errorf("presentMajor: %d, %v; want 16, the one that is a link to a folder", major, err)
	}
}

func TestFoldersThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ folder, says string }{
		"a file":    {filepath.Join(file, "data"), "set DATA_DIR to a folder"},
		"full":      {disk(t, "size=12m"), "the disk is full"},
		"read-only": {disk(t, "ro"), "the disk is read-only"},
	}
	if os.Geteuid() != 0 {
		closed := t.TempDir()
		if err := os.Chmod(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		cases["closed"] = struct{ folder, says string }{closed, "closed to this user"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.folder == "" {
				t.Skip("no disk can be mounted here")
			}
			cfg := testConfig(t)
			cfg.DataDir = c.folder
			_, err := Start(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// disk mounts a file system in memory; "" where that is not allowed.
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
