package devdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	loopback  = "127.0.0.1" // the only address that Postgres listens on
	superuser = "postgres"  // owns the cluster; the product never connects as it
	// role isn't a superuser, so that an SQL injection can't run programs by COPY ... PROGRAM.
	role, database = "ratelimiter", "ratelimiter"
	// clientAuthentication is pg_hba.conf: every connection needs a password.
	clientAuthentication = "local all all scram-sha-256\nhost all all " + loopback + "/32 scram-sha-256\n"
	// unfinished is part of the names of folders that are being created.
	unfinished = ".unfinished-"
	// orphanPatience is how long the Postgres of a killed server may take to end by itself (Linux).
	orphanPatience = 3 * time.Second
)

// folderPath is the folder that holds the data of a major version.
func folderPath(dataDir string, major int) string {
	return filepath.Join(dataDir, fmt.Sprintf("postgres-%d", major))
}

// passwordPath is the file that holds the password of both roles, mode 0600.
func passwordPath(dataDir string) string { return filepath.Join(dataDir, "postgres.password") }

// readPassword reads the password. The error is fs.ErrNotExist if there is none yet.
func readPassword(dataDir string) (string, error) {
	text, err := os.ReadFile(passwordPath(dataDir))
	return strings.TrimSpace(string(text)), err
}

// Exists reports whether dataDir holds the data of a private Postgres.
func Exists(dataDir string) bool { return presentMajor(dataDir) > 0 }

// presentMajor returns the highest major version that dataDir holds data of, 0 for none.
func presentMajor(dataDir string) int {
	for major := 99; major > 0; major-- {
		if _, err := os.Stat(filepath.Join(folderPath(dataDir, major), "PG_VERSION")); err == nil {
			return major
		}
	}
	return 0
}

// chooseAccount returns the user that Postgres runs as; nil means the current one. Postgres refuses
// to run as root, so root drops to the owner of the data if there is any, otherwise to the user
// postgres or nobody.
func chooseAccount(dataFolder string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(dataFolder); err == nil {
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 0 {
			return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		if found, err := user.Lookup(name); err == nil {
			uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
			gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
		}
	}
	return nil, errors.New("Postgres refuses to run as root: run this as another user, or set DATABASE_URL")
}

// prepare opens the data folder, created if missing, and reads the password. If the password file
// was removed, it sets a new password. The file is written last, so that the next start completes
// what was interrupted.
func (s *Server) prepare(ctx context.Context, hasData bool) (err error) {
	s.password, err = readPassword(s.cfg.DataDir)
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew {
		s.password = rand.Text()
	} else if err != nil {
		return err
	}
	if !hasData {
		err = s.create(ctx)
	} else if err = s.openFolder(ctx, orphanPatience); err == nil && isNew {
		err = s.setPasswords(ctx, "")
	}
	if err == nil && isNew {
		err = os.WriteFile(passwordPath(s.cfg.DataDir), []byte(s.password+"\n"), 0o600)
	}
	return err
}

// openFolder opens and locks the data folder. Postgres and its children inherit the lock with the
// open folder: it is free once all of them have ended, however their server ended. A Postgres that
// still runs after patience is stopped, at first by a fast shutdown.
func (s *Server) openFolder(ctx context.Context, patience time.Duration) (err error) {
	if s.folder, err = os.Open(s.path); err != nil {
		return err
	}
	pid, pidFile := 0, filepath.Join(s.path, "postmaster.pid")
	signals, deadline := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}, time.Now().Add(patience)
	err = poll(ctx, func() (bool, error) {
		text, _ := os.ReadFile(pidFile)
		pid = 0
		_, _ = fmt.Sscan(string(text), &pid)
		locked, err := tryLock(s.folder)
		if !locked && pid > 0 && len(signals) > 0 && time.Now().After(deadline) {
			s.cfg.Log.Warn("stopping the Postgres of a killed server", "pid", pid, "signal", signals[0])
			_ = syscall.Kill(pid, signals[0])
			signals, deadline = signals[1:], time.Now().Add(10*orphanPatience)
		}
		return locked, err
	})
	if err != nil {
		return fmt.Errorf("the Postgres of a killed server uses %s: stop it with \"kill -QUIT %d\": %w", s.path, pid, err)
	}
	// After a crash another process may have the pid, and Postgres would take that process for a
	// Postgres.
	folder, err := s.folder.Stat()
	other, otherErr := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err == nil && otherErr == nil && !os.SameFile(other, folder) {
		err = os.Remove(pidFile)
	}
	return err
}

// create makes the data folder under a temporary name and renames it when it is complete. It
// removes what interrupted attempts left.
func (s *Server) create(ctx context.Context) (err error) {
	step := s.cfg.console().begin(fmt.Sprintf("creating a private Postgres %d", s.major), "1 to 10 s", "folder", s.path)
	defer func() { step.end(err) }()
	leftovers, _ := fs.Glob(os.DirFS(s.cfg.DataDir), "postgres-*"+unfinished+"*")
	for _, name := range leftovers {
		_ = os.RemoveAll(filepath.Join(s.cfg.DataDir, name))
	}
	final := s.path
	if s.path, err = os.MkdirTemp(s.cfg.DataDir, filepath.Base(final)+unfinished); err != nil {
		return err
	}
	if err = s.initdb(ctx); err == nil {
		err = os.Rename(s.path, final)
	}
	_ = os.RemoveAll(s.path)
	s.path = final
	return err
}

// initdb makes the cluster, the role and the database in an empty folder.
func (s *Server) initdb(ctx context.Context) error {
	if s.account != nil {
		if err := os.Chown(s.path, int(s.account.Uid), int(s.account.Gid)); err != nil {
			return err
		}
	}
	if err := s.openFolder(ctx, orphanPatience); err != nil {
		return err
	}
	args := []string{"--username=" + superuser, "--auth-local=reject", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C"}
	if s.major >= 17 { // letters are those of Unicode, where that is known
		args = append(args, "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	} else if runtime.GOOS == "linux" {
		args = append(args, "--lc-ctype=C.UTF-8")
	}
	if err := s.run(ctx, "", "initdb", args...); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.path, "pg_hba.conf"), []byte(clientAuthentication), 0o600); err != nil {
		return err
	}
	rights := "LOGIN"
	if s.cfg.CreateDB {
		rights += " CREATEDB"
	}
	return s.setPasswords(ctx, fmt.Sprintf("CREATE ROLE %s %s\nCREATE DATABASE %s OWNER %[1]s\n", role, rights, database))
}

// setPasswords runs statements, one a line, and sets the password of both roles. It uses
// single-user mode, which needs no password and opens no port.
func (s *Server) setPasswords(ctx context.Context, statements string) error {
	quoted := "'" + strings.ReplaceAll(s.password, "'", "''") + "'" // the file may have been edited
	statements += fmt.Sprintf("ALTER ROLE %s PASSWORD %s\nALTER ROLE %s PASSWORD %[2]s\n", superuser, quoted, role)
	return s.run(ctx, statements, "postgres", "--single", "-c", "exit_on_error=true", "postgres")
}
