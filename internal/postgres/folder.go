package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// orphanPatience is how long the Postgres of a killed server may take to end by itself, before it
// is told to.
const orphanPatience = 3 * time.Second

// folder is a data folder (DATA_DIR/postgres-<major>), open and locked. The lock belongs to the
// open file, which Postgres inherits with its own children: as long as one of them lives, however
// its server ended, nobody else gets the lock.
type folder struct {
	path string
	file *os.File
	info os.FileInfo
}

// folderPath is where the data of a major version lives.
func folderPath(dataDir string, major int) string {
	return filepath.Join(dataDir, fmt.Sprintf("postgres-%d", major))
}

// presentMajor is the highest major version that DATA_DIR holds data of, 0 for none.
func presentMajor(dataDir string) (int, error) {
	entries, err := os.ReadDir(dataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read DATA_DIR: %w%s", err, adviceFor(err.Error()))
	}
	highest := 0
	for _, entry := range entries {
		number, found := strings.CutPrefix(entry.Name(), "postgres-")
		major, err := strconv.Atoi(number)
		if !found || err != nil {
			continue
		}
		// Stat and not the entry: the folder may be a link to another disk.
		if info, err := os.Stat(filepath.Join(dataDir, entry.Name())); err == nil && info.IsDir() {
			highest = max(highest, major)
		}
	}
	return highest, nil
}

// openFolder opens and locks a data folder that exists. report is told of a Postgres that had to
// be stopped for that.
func openFolder(ctx context.Context, path string, report func(pid int)) (*folder, error) {
	return openFolderWithin(ctx, path, orphanPatience, report)
}

// openFolderWithin is openFolder with a patience of its own.
func openFolderWithin(ctx context.Context, path string, patience time.Duration, report func(pid int)) (*folder, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w%s", err, adviceFor(err.Error()))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f := &folder{path: path, file: file, info: info}
	if err := f.lock(ctx, patience, report); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := f.clear(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// lock waits until the Postgres of a server that was killed has ended. One that does not end by
// itself (only Linux tells it to) gets the signal for a fast shutdown, once.
func (f *folder) lock(ctx context.Context, patience time.Duration, report func(pid int)) error {
	deadline := time.Now().Add(patience)
	told := false
	for {
		err := tryLock(f.file)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.path, err)
		}
		if pid := f.postmaster(); pid != 0 && !told && time.Now().After(deadline) {
			told = true
			report(pid)
			_ = syscall.Kill(pid, syscall.SIGINT)
		}
		if err := pause(ctx, lockPoll); err != nil {
			return fmt.Errorf("the Postgres of an earlier server, pid %d, still runs in %s: stop it with \"kill -INT %[1]d\": %[3]w",
				f.postmaster(), f.path, err)
		}
	}
}

// postmaster is the pid of the Postgres that runs in the folder, 0 without one. A pid file alone
// proves nothing: after a crash its number may belong to any process.
func (f *folder) postmaster() int {
	text, err := os.ReadFile(filepath.Join(f.path, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 || !runsIn(pid, f.info) {
		return 0
	}
	return pid
}

// ready tells whether the Postgres that was started in the folder takes connections, by the eighth
// line of its pid file.
func (f *folder) ready() bool {
	const statusLine = 7
	text, err := os.ReadFile(filepath.Join(f.path, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) > statusLine && strings.TrimSpace(lines[statusLine]) == "ready"
}

// clear removes what a crash left behind and the next start would stumble over: a pid file whose
// number another process has now, and sockets of earlier ports. A Postgres that somebody started
// here by hand (it has no part in the lock) is an error.
func (f *folder) clear() error {
	if pid := f.postmaster(); pid != 0 {
		return fmt.Errorf("another Postgres, pid %d, runs in %s: stop it with \"kill -INT %[1]d\"", pid, f.path)
	}
	stale, err := filepath.Glob(filepath.Join(globQuote(f.path), ".s.PGSQL.*"))
	if err != nil {
		return fmt.Errorf("look for old sockets: %w", err)
	}
	for _, name := range append(stale, filepath.Join(f.path, "postmaster.pid")) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear the data folder: %w%s", err, adviceFor(err.Error()))
		}
	}
	return nil
}

// globQuote makes a path match itself alone as a pattern.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// close lets go of this process's share of the lock.
func (f *folder) close() error { return f.file.Close() }
