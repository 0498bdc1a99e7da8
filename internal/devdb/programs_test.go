package devdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newMachine returns a finder on a machine without Postgres, network or package manager.
func newMachine(t *testing.T, major int) finder {
	t.Helper()
	f := newFinder(console{log: slog.New(slog.DiscardHandler)}, major)
	f.root = t.TempDir()
	f.repository, f.cache, f.platform, f.sum = "http://127.0.0.1:1", filepath.Join(f.root, "cache"), "test-amd64", "0"
	t.Setenv("PG_BINDIR", "")
	t.Setenv("PATH", filepath.Join(f.root, "path"))
	return f
}

// writeProgram writes a shell script below the root and returns its folder.
func writeProgram(t *testing.T, f finder, dir, name, script string) string {
	t.Helper()
	dir = filepath.Join(f.root, dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writePostgres writes a postgres of the given version.
func writePostgres(t *testing.T, f finder, dir, version string) string {
	t.Helper()
	return writeProgram(t, f, dir, "postgres", fmt.Sprintf("echo 'postgres (PostgreSQL) %s'", version))
}

// mustFind checks which folder is found.
func mustFind(t *testing.T, f finder, want string) {
	t.Helper()
	if dir, _, err := f.find(t.Context()); err != nil || dir != want {
		t.Errorf("found %s, %v; want %s", dir, err, want)
	}
}

func TestFinder_find(t *testing.T) {
	t.Run("order", func(t *testing.T) {
		f := newMachine(t, 0)
		// From the last way to the first: each precedes those that exist already.
		cached := writePostgres(t, f, "cache/postgres-18.3.0-test-amd64/bin", "18.3")
		mustFind(t, f, cached)
		mustFind(t, f, writePostgres(t, f, "usr/lib/postgresql/9.6/bin", "14.1")) // the folder's name doesn't matter
		mustFind(t, f, writePostgres(t, f, "opt/homebrew/opt/postgresql@16/bin", "16.4 (Homebrew)"))
		mustFind(t, f, writePostgres(t, f, "usr/lib/postgresql/17/bin", "17beta1"))
		t.Setenv("PATH", "/tools:"+os.Getenv("PATH")) // below the root
		mustFind(t, f, writePostgres(t, f, "tools", "18.1"))
		configured := writePostgres(t, f, "configured here", "14.0")
		writeProgram(t, f, "path", "pg_config", "echo '"+configured+"'")
		mustFind(t, f, configured)
		named := writePostgres(t, f, "named", "15.0")
		t.Setenv("PG_BINDIR", named)
		mustFind(t, f, named)
	})
	t.Run("major_of_the_data", func(t *testing.T) {
		f := newMachine(t, 15)
		writePostgres(t, f, "usr/lib/postgresql/17/bin", "17.2")
		mustFind(t, f, writePostgres(t, f, "usr/lib/postgresql/15/bin", "15.8"))

		f = newMachine(t, 16)
		writePostgres(t, f, "usr/lib/postgresql/17/bin", "17.2")
		_, _, err := f.find(t.Context())
		mustSay(t, err, "no Postgres 16 found", "set DATA_DIR to another folder", "PG_BINDIR", "apt-get install postgresql-16")
	})
	t.Run("unusable_PG_BINDIR", func(t *testing.T) {
		f := newMachine(t, 0)
		writePostgres(t, f, "usr/lib/postgresql/17/bin", "17.2")
		for _, dir := range []string{filepath.Join(f.root, "nowhere"), writePostgres(t, f, "old", "13.5")} {
			t.Setenv("PG_BINDIR", dir)
			_, _, err := f.find(t.Context())
			mustSay(t, err, "PG_BINDIR", dir, "Postgres 14 or newer")
		}
	})
	t.Run("nothing", func(t *testing.T) {
		f := newMachine(t, 0)
		old := writePostgres(t, f, "usr/lib/postgresql/13/bin", "13.5")
		broken := writeProgram(t, f, "usr/lib/postgresql/15/bin", "postgres", "exit 3")
		_, _, err := f.find(t.Context())
		mustSay(t, err, "DATABASE_URL", "PG_BINDIR", "pg_config", "apt-get install", "dnf install", "brew install", f.repository, "as root",
			old+" has postgres (PostgreSQL) 13.5", broken+"/postgres --version", "connection refused", "there is no apt-get")
	})
	t.Run("ends_with_its_context", func(t *testing.T) {
		f := newMachine(t, 0)
		writeProgram(t, f, "path", "apt-get", "touch "+filepath.Join(f.root, "installed"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := f.find(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if _, err := os.Stat(filepath.Join(f.root, "installed")); err == nil {
			t.Error("a package was installed")
		}
	})
	t.Run("programs_that_the_account_cannot_reach", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root")
		}
		f := newMachine(t, 0)
		f.account = &syscall.Credential{Uid: 65534, Gid: 65534}
		dir := writePostgres(t, f, "usr/lib/postgresql/17/bin", "17.2")
		if err := os.Chmod(f.root, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _, err := f.find(t.Context())
		mustSay(t, err, dir+"/postgres --version, as the user that Postgres runs as", "permission denied")
	})
}

func TestFinder_aptInstall(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := os.Getenv("PATH")
	setting := "etc/postgresql-common/createcluster.d/ratelimiter.conf"
	mustRemoveSetting := func(t *testing.T, f finder) {
		t.Helper()
		if _, err := os.Stat(filepath.Join(f.root, setting)); err == nil {
			t.Error("the setting for the installation still exists")
		}
	}
	for name, c := range map[string]struct {
		major int
		want  string
	}{"newest": {0, "postgresql"}, "major_of_the_data": {15, "postgresql-15"}} {
		t.Run(name, func(t *testing.T) {
			f := newMachine(t, c.major)
			writePostgres(t, f, "packaged", "15.8")
			bin := writeProgram(t, f, "path", "apt-get", fmt.Sprintf(`
				case "$*" in
				*update*) echo "E: no network"; exit 100;;
				-qqy*" install %s") cd %s && grep -q create_main_cluster.=.false %s && mkdir -p usr/lib/postgresql/15 && mv packaged usr/lib/postgresql/15/bin;;
				*) exit 1;;
				esac`, c.want, f.root, setting))
			t.Setenv("PATH", bin+":"+path)
			var terminal bytes.Buffer
			f.terminal = &terminal
			dirs, err := f.aptInstall(t.Context())
			if lines, _ := screen(terminal.String()); len(lines) != 1 || !strings.HasPrefix(lines[0], "Installing "+c.want+" with apt-get: done in ") {
				t.Errorf("the terminal shows %q", lines)
			}
			if want := filepath.Join(f.root, "usr/lib/postgresql/15/bin"); err != nil || len(dirs) != 1 || dirs[0] != want {
				t.Errorf("installed %v, %v; want %s", dirs, err, want)
			}
			mustRemoveSetting(t, f)
		})
	}
	t.Run("fails", func(t *testing.T) {
		f := newMachine(t, 0)
		bin := writeProgram(t, f, "path", "apt-get", "echo 'E: Unable to locate package postgresql'; exit 100")
		t.Setenv("PATH", bin+":"+path)
		_, err := f.aptInstall(t.Context())
		mustSay(t, err, "apt-get install postgresql", "Unable to locate package")
		mustRemoveSetting(t, f)
	})
	t.Run("not_debian", func(t *testing.T) {
		f := newMachine(t, 0)
		_, err := f.aptInstall(t.Context())
		mustSay(t, err, "no apt-get")
		if _, err := os.Stat(filepath.Join(f.root, "etc")); err == nil {
			t.Error("it changed the machine")
		}
	})
}
