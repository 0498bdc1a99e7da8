package devdb

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// newMachine returns a finder on a machine without Postgres, network or package manager.
func newMachine(t *testing.T, major int) finder {
	t.Helper()
	f := newFinder(slog.New(slog.DiscardHandler), major)
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

// archive returns a Maven archive with the .txz of testdata.
func archive(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/build.txz")
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, text := range map[string][]byte{"META-INF/MANIFEST.MF": []byte("x"), "postgres-test.txz": content} {
		entry, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// publish serves an archive in a Maven repository that counts its requests.
func publish(t *testing.T, f *finder, archive []byte) *atomic.Int32 {
	t.Helper()
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != "/io/zonky/test/postgres/embedded-postgres-binaries-test-amd64/18.3.0/embedded-postgres-binaries-test-amd64-18.3.0.jar" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)
	f.repository, f.sum = server.URL, fmt.Sprintf("%x", sha256.Sum256(archive))
	return &requests
}

func TestFinder_download(t *testing.T) {
	path := os.Getenv("PATH") // has tar
	// mustHave checks that the cache has the build and nothing unfinished.
	mustHave := func(t *testing.T, f finder) {
		t.Helper()
		entries, err := os.ReadDir(f.cache)
		if err != nil || len(entries) != 1 || entries[0].Name() != "postgres-18.3.0-test-amd64" {
			t.Errorf("the cache has %v, %v", entries, err)
		}
	}
	t.Run("once", func(t *testing.T) {
		f := newMachine(t, 0)
		t.Setenv("PATH", path)
		requests := publish(t, &f, archive(t))
		for range 2 {
			dirs, err := f.download(t.Context())
			if err != nil || len(dirs) != 1 {
				t.Fatalf("download: %v, %v", dirs, err)
			}
			if major, err := f.inspect(t.Context(), dirs[0]); err != nil || major != 18 {
				t.Errorf("major %d, %v", major, err)
			}
			library, err := os.ReadFile(filepath.Join(dirs[0], "../lib/libpq.so.5")) // a link
			if err != nil || string(library) != "lib\n" {
				t.Errorf("library %q, %v", library, err)
			}
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		mustHave(t, f)
	})
	t.Run("concurrently", func(t *testing.T) {
		f := newMachine(t, 0)
		t.Setenv("PATH", path)
		publish(t, &f, archive(t))
		var downloads sync.WaitGroup
		for range 8 {
			downloads.Go(func() {
				if _, err := f.download(t.Context()); err != nil {
					t.Errorf("download: %v", err)
				}
			})
		}
		downloads.Wait()
		mustHave(t, f)
	})
	for name, c := range map[string]struct {
		change func(*finder)
		want   string
	}{
		"another_archive":  {func(f *finder) { f.sum = strings.Repeat("0", 64) }, "SHA-256"},
		"not_published":    {func(f *finder) { f.repository += "/elsewhere" }, "404"},
		"no_network":       {func(f *finder) { f.repository = "http://127.0.0.1:1" }, "connection refused"},
		"unknown_platform": {func(f *finder) { f.sum = "" }, "for test-amd64"},
		"another_major":    {func(f *finder) { f.major, f.wanted = 15, "Postgres 15" }, "no download of Postgres 15"},
		"not_a_zip":        {func(f *finder) { publish(t, f, []byte("text")) }, "zip"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newMachine(t, 0)
			publish(t, &f, archive(t))
			c.change(&f)
			_, err := f.download(t.Context())
			mustSay(t, err, c.want)
			if entries, _ := os.ReadDir(f.cache); len(entries) != 0 {
				t.Errorf("left in the cache: %v", entries)
			}
		})
	}
}

func TestNewFinder(t *testing.T) {
	f := newFinder(slog.New(slog.DiscardHandler), 0)
	if len(f.sum) != 64 || !filepath.IsAbs(f.cache) {
		t.Errorf("sum %q, cache %q", f.sum, f.cache)
	}
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
			dirs, err := f.aptInstall(t.Context())
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
