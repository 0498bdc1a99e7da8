// Package pgbin finds the programs of a Postgres installation, or gets them: it looks where
// PG_BINDIR, pg_config and the usual install folders point, then downloads a build, then (as root
// on Debian or Ubuntu) installs the distribution's package. It never runs a server; package
// postgres does.
package pgbin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MinMajor is the oldest major version of Postgres that the product supports.
const MinMajor = 14

// versionTimeout bounds one `postgres --version`, which takes milliseconds: a program that hangs
// there is not a usable Postgres.
const versionTimeout = 5 * time.Second

// Install is a folder with the server's programs.
type Install struct {
	Dir   string // holds postgres and initdb
	Major int
}

// Program is the path of one of the installation's programs.
func (i Install) Program(name string) string { return filepath.Join(i.Dir, name) }

// Want says which installation will do.
type Want struct {
	// Major is the one major version that will do, because there is data of that version;
	// 0 accepts any from MinMajor on.
	Major int
	// Credential is the user that will run the programs, nil for the present one: programs that
	// it can't execute, as in root's home folder, are passed over.
	Credential *syscall.Credential
	// Log is told of a download or an installation, which take a while.
	Log *slog.Logger
}

// accepts tells whether an installation of this major version will do.
func (w Want) accepts(major int) bool {
	return major >= MinMajor && (w.Major == 0 || major == w.Major)
}

// version says in words what accepts tests.
func (w Want) version() string {
	if w.Major != 0 {
		return fmt.Sprintf("Postgres %d", w.Major)
	}
	return fmt.Sprintf("Postgres %d or newer", MinMajor)
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// inspect tells which installation dir holds. The error says why it is unusable.
func inspect(ctx context.Context, dir string, want Want) (Install, error) {
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Install{}, fmt.Errorf("%s has no %s", dir, name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: want.Credential}
	out, err := cmd.Output()
	if errors.Is(err, os.ErrPermission) && want.Credential != nil {
		return Install{}, fmt.Errorf("%s can't be executed by user id %d, which Postgres would run as",
			dir, want.Credential.Uid)
	}
	if err != nil {
		return Install{}, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	found := versionLine.FindSubmatch(out)
	if found == nil {
		return Install{}, fmt.Errorf("%s/postgres --version printed %q", dir, strings.TrimSpace(string(out)))
	}
	major, err := strconv.Atoi(string(found[1]))
	if err != nil {
		return Install{}, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	if !want.accepts(major) {
		return Install{}, fmt.Errorf("%s has Postgres %d, not %s", dir, major, want.version())
	}
	return Install{Dir: dir, Major: major}, nil
}

// best inspects the folders and picks the highest major version, the earlier folder among equals.
// The error says why each folder was passed over.
func best(ctx context.Context, dirs []string, want Want) (Install, error) {
	if len(dirs) == 0 {
		return Install{}, errors.New("there is no postgres in the usual install folders or on the PATH")
	}
	var usable []Install
	var passed []error
	for _, dir := range dirs {
		install, err := inspect(ctx, dir, want)
		if err != nil {
			passed = append(passed, err)
			continue
		}
		usable = append(usable, install)
	}
	if len(usable) == 0 {
		return Install{}, errors.Join(passed...)
	}
	slices.SortStableFunc(usable, func(a, b Install) int { return cmp.Compare(b.Major, a.Major) })
	return usable[0], nil
}
