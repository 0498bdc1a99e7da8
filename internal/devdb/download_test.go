package devdb

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

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
		var log bytes.Buffer
		f.log = slog.New(slog.NewTextHandler(&log, nil))
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
		if !strings.Contains(log.String(), ", 100 %") || strings.Count(log.String(), `msg="downloading Postgres 18.3.0" url=`) != 1 ||
			strings.Count(log.String(), `msg="unpacking Postgres 18.3.0"`) != 1 {
			t.Errorf("got log %s", log.String())
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
	f := newFinder(console{log: slog.New(slog.DiscardHandler)}, 0)
	if len(f.sum) != 64 || !filepath.IsAbs(f.cache) {
		t.Errorf("sum %q, cache %q", f.sum, f.cache)
	}
}
