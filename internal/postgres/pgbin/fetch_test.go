package pgbin

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// jar is an archive as the repository holds it, around a .txz of testdata.
func jar(t *testing.T, txz string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", txz))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	for name, text := range map[string][]byte{"META-INF/MANIFEST.MF": []byte("x"), "postgres-test.txz": content} {
		w, err := archive.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// published is a build of version 18.3.0 in a repository that counts the requests for it.
func published(t *testing.T, archive []byte) (build, *atomic.Int32) {
	t.Helper()
	var requests atomic.Int32
	const path = "/io/zonky/test/postgres/embedded-postgres-binaries-test-amd64/18.3.0/embedded-postgres-binaries-test-amd64-18.3.0.jar"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(archive)
	return build{
		repository: server.URL, cache: filepath.Join(t.TempDir(), "cache"),
		platform: "test-amd64", version: "18.3.0", major: 18, sum: hex.EncodeToString(sum[:]),
	}, &requests
}

func TestFetchOnce(t *testing.T) {
	b, requests := published(t, jar(t, "build.txz"))
	for range 2 {
		install, err := b.get(t.Context(), Want{})
		if err != nil {
			t.Fatalf("get: %v", err)
		}
		if install.Major != 18 {
			t.Errorf("major %d, want 18", install.Major)
		}
		library, err := os.ReadFile(filepath.Join(install.Dir, "../lib/libpq.so.5")) // a link
		if err != nil || string(library) != "lib\n" {
			t.Errorf("library: %q, %v", library, err)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1: the second is answered from the cache", n)
	}
	onlyTheBuild(t, b)
}

func TestFetchAtOnce(t *testing.T) {
	b, _ := published(t, jar(t, "build.txz"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := b.get(t.Context(), Want{}); err != nil {
				t.Errorf("get: %v", err)
			}
		})
	}
	all.Wait()
	onlyTheBuild(t, b)
}

func TestFetchReplacesWhatIsBroken(t *testing.T) {
	b, _ := published(t, jar(t, "build.txz"))
	if err := os.MkdirAll(filepath.Join(b.cache, "postgres-18.3.0-test-amd64", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.get(t.Context(), Want{}); err != nil {
		t.Errorf("get: %v", err)
	}
	onlyTheBuild(t, b)
}

// onlyTheBuild checks that nothing unfinished is left in the cache.
func onlyTheBuild(t *testing.T, b build) {
	t.Helper()
	entries, err := os.ReadDir(b.cache)
	if err != nil || len(entries) != 1 || entries[0].Name() != "postgres-18.3.0-test-amd64" {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
}

func TestFetchRefusals(t *testing.T) {
	good, _ := published(t, jar(t, "build.txz"))
	cases := map[string]struct {
		change func(*build)
		want   Want
		says   string
	}{
		"another archive":  {func(b *build) { b.sum = strings.Repeat("0", 64) }, Want{}, "SHA-256"},
		"not published":    {func(b *build) { b.version = "18.9.9" }, Want{}, "404"},
		"no network":       {func(b *build) { b.repository = "http://127.0.0.1:1" }, Want{}, "connection refused"},
		"unknown platform": {func(b *build) { b.sum = "" }, Want{}, "no build for test-amd64"},
		"other data":       {func(*build) {}, Want{Major: 15}, "Postgres 18"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := good
			b.cache = t.TempDir()
			c.change(&b)
			_, err := b.get(t.Context(), c.want)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			if entries, _ := os.ReadDir(b.cache); len(entries) != 0 {
				t.Errorf("left in the cache: %v", entries)
			}
		})
	}
}

func TestUnpackStaysInItsFolder(t *testing.T) {
	b, _ := published(t, jar(t, "outside.txz"))
	if _, err := b.get(t.Context(), Want{}); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("error %v, want one that says that a path escapes", err)
	}
}

func TestPlatformNames(t *testing.T) {
	for _, platform := range [][2]string{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}} {
		name := strings.TrimSuffix(platformName(platform[0], platform[1]), "-alpine")
		if buildSums[name] == "" {
			t.Errorf("no checksum for %s", name)
		}
	}
}
