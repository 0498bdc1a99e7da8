package docs_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// The pages link files by the version of their content, which may be cached for a year. All other responses are revalidated.
func TestPages_versioned_links(t *testing.T) {
	router := newRouter()
	links := 0
	for _, page := range []string{"/docs", "/redoc", "/guide/limits", "/demo/orders"} {
		response := get(router, page)
		for _, link := range regexp.MustCompile(`(?:src|href)="(/(?:swagger|redoc|guide|demo)/[^"]*\?v=[^"]*)"`).FindAllStringSubmatch(response.Body.String(), -1) {
			links++
			address, version, _ := strings.Cut(link[1], "?v=")
			for query, want := range map[string]string{
				"?v=" + version: "public, max-age=31536000, immutable", "": "no-cache", "?v=00000000": "no-cache", "?v=" + version + "&v=1": "no-cache", "?v=": "no-cache",
			} {
				got := get(router, address+query)
				if got.Code != http.StatusOK || got.Header().Get("Cache-Control") != want || !strings.HasPrefix(got.Header().Get("ETag"), `"`+version) {
					t.Errorf("%s: status %d, header %v; want Cache-Control %s", address+query, got.Code, got.Header(), want)
				}
			}
		}
		if got := response.Header().Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: got Cache-Control %s", page, got)
		}
	}
	if links != 6+5+4+5 {
		t.Errorf("got %d links", links)
	}
}

// discardWriter is a response writer without a body.
type discardWriter struct{ header http.Header }

func (w discardWriter) Header() http.Header         { return w.header }
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w discardWriter) WriteHeader(int)             {}

// A compressor allocates 800 KB. After the first request nothing is compressed, hashed or read.
func TestFiles_compressed_once(t *testing.T) {
	router := newRouter()
	for _, path := range []string{"/docs", "/openapi.json", "/swagger/doc.json", "/swagger/swagger-ui-bundle.js", "/redoc", "/redoc/redoc.standalone.js", "/guide/limits", "/guide/guide.css"} {
		if got := get(router, path, "Accept-Encoding", "gzip").Header().Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("%s: got Content-Encoding %q", path, got)
		}
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Accept-Encoding", "gzip")
		var before, after runtime.MemStats
		const requests = 10
		runtime.ReadMemStats(&before)
		for range requests {
			router.ServeHTTP(discardWriter{http.Header{}}, request)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / requests; each > 100_000 {
			t.Errorf("%s: %d bytes allocated by each request", path, each)
		}
	}
}
