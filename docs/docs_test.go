package docs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"ratelimiter/docs"
)

func newRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/guide", docs.Home)
	router.GET("/guide/*any", docs.Guide)
	router.HEAD("/guide/*any", docs.Guide)
	router.GET("/docs", docs.Page)
	router.GET("/swagger/*any", docs.SwaggerUI)
	router.GET("/redoc", docs.Reference)
	router.GET("/redoc/*any", docs.ReDoc)
	router.GET("/demo/orders", docs.DemoOrders)
	router.GET("/demo/orders/*any", docs.Demo)
	router.GET("/openapi.json", docs.Spec)
	return router
}

// get sends GET target to router; headers are names and values in turn.
func get(router http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response := httptest.NewRecorder()
	router.ServeHTTP(response, request)
	return response
}

// vendored pins swagger-ui-dist 5.35.0 and redoc 2.5.4, by folder. When a hash changes, review the Content-Security-Policy
// of the page: the browser tests show whether the new version runs under it.
var vendored = map[string]map[string]string{
	"swagger-ui": {
		"favicon-16x16.png":                "af24ad604dd7b3bcda8f975ab973075f4a2f70a4087944a12f8ef8b63a3e07c2",
		"favicon-32x32.png":                "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
		"swagger-ui-bundle.js":             "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
		"swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
		"swagger-ui.css":                   "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
		"LICENSE":                          "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
		"NOTICE":                           "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
	},
	"redoc": {
		"redoc.standalone.js":             "dcaf76612bc4a3fbcc923a8966dee2f6146a5f32e5ce1b6f02dd60cbbf89500b",
		"redoc.standalone.js.LICENSE.txt": "eed602ec32e00b2b9df1984fbcc26a687b1b3193ec01961389c4b8439e6edf73",
		"LICENSE":                         "d3026d549cf68ab7355bcfa85877bf8f845b3334a7efbfdc63936432fb34ff0e",
	},
}

func TestVendoredFiles_hashes(t *testing.T) {
	for folder, pinned := range vendored {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(pinned)+1 { // and the README
			t.Errorf("%s: got %d files; want the %d pinned ones and README.md", folder, len(entries), len(pinned))
		}
		for name, want := range pinned {
			content, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Error(err)
				continue
			}
			sum := sha256.Sum256(content)
			if got := hex.EncodeToString(sum[:]); got != want {
				t.Errorf("%s/%s: got SHA-256 %s; want the pinned one", folder, name, got)
			}
		}
	}
}

func TestFiles_content_types(t *testing.T) {
	router := newRouter()
	for path, contentType := range map[string]string{
		"/docs":                             "text/html; charset=utf-8",
		"/openapi.json":                     "application/json; charset=utf-8",
		"/swagger/index.html":               "text/html; charset=utf-8",
		"/swagger/index.css":                "text/css; charset=utf-8",
		"/swagger/swagger-initializer.js":   "text/javascript; charset=utf-8",
		"/swagger/swagger-ui-bundle.js":     "application/javascript",
		"/swagger/swagger-ui.css":           "text/css; charset=utf-8",
		"/swagger/favicon-16x16.png":        "image/png",
		"/swagger/favicon-32x32.png":        "image/png",
		"/swagger/doc.json":                 "application/json; charset=utf-8",
		"/swagger/swagger-ui.css?version=1": "text/css; charset=utf-8",
		"/redoc":                            "text/html; charset=utf-8",
		"/redoc/redoc.standalone.js":        "text/javascript; charset=utf-8",
		"/redoc/redoc-initializer.js":       "text/javascript; charset=utf-8",
		"/demo/orders":                      "text/html; charset=utf-8",
		"/demo/orders/demo.css":             "text/css; charset=utf-8",
		"/demo/orders/demo.js":              "text/javascript; charset=utf-8",
		"/demo/orders/follow.js":            "text/javascript; charset=utf-8",
		"/guide/":                           "text/html; charset=utf-8",
		"/guide/limits":                     "text/html; charset=utf-8",
		"/guide/guide.css":                  "text/css; charset=utf-8",
		"/guide/guide.js":                   "text/javascript; charset=utf-8",
	} {
		response := get(router, path)
		if response.Code != http.StatusOK || response.Body.Len() == 0 {
			t.Errorf("%s: status %d with %d bytes", path, response.Code, response.Body.Len())
		}
		if got := response.Header().Get("Content-Type"); got != contentType {
			t.Errorf("%s: got Content-Type %q; want %q", path, got, contentType)
		}
		if got := response.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: got X-Content-Type-Options %q; want nosniff", path, got)
		}
	}
}

func TestSwaggerUI_serves_vendored_files(t *testing.T) {
	router := newRouter()
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"} {
		want, err := os.ReadFile(filepath.Join("swagger-ui", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := get(router, "/swagger/"+name).Body.String(); got != string(want) {
			t.Errorf("%s: got %d bytes; want the %d of the file", name, len(got), len(want))
		}
	}
}

func TestPages_content_security_policy(t *testing.T) {
	const begin, end = "default-src 'self'; script-src 'self'; style-src 'self'", "; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	const swaggerUI = begin + "; img-src 'self' data:" + end
	const reDoc = begin + " 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='" +
		"; img-src 'self' data:; worker-src blob:" + end
	router := newRouter()
	for path, want := range map[string]string{"/docs": swaggerUI, "/swagger/index.html": swaggerUI, "/redoc": reDoc, "/guide/": swaggerUI, "/guide/search": swaggerUI, "/guide/none": swaggerUI, "/demo/orders": swaggerUI} {
		if got := get(router, path).Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: got Content-Security-Policy\n%q; want\n%q", path, got, want)
		}
	}
}

var (
	otherOrigin = regexp.MustCompile(`(?i)(src|href|action|url)\s*[=(:]\s*["']?\s*(https?:)?//`)
	inline      = regexp.MustCompile(`(?is)<script[^>]*>\s*\S+?\s*</script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
)

func TestPages_same_origin_without_inline_code(t *testing.T) {
	router := newRouter()
	for _, path := range []string{
		"/docs", "/swagger/index.html", "/swagger/index.css", "/swagger/swagger-initializer.js", "/redoc", "/redoc/redoc-initializer.js",
		"/guide/guide.css", "/guide/guide.js", "/guide/search", "/demo/orders", "/demo/orders/demo.css", "/demo/orders/demo.js", "/demo/orders/follow.js",
	} {
		body := get(router, path).Body.String()
		if found := otherOrigin.FindString(body); found != "" {
			t.Errorf("%s names another origin: %q", path, found)
		}
		if found := inline.FindString(body); found != "" && !strings.HasSuffix(path, ".js") {
			t.Errorf("%s has inline code that its policy forbids: %q", path, found)
		}
	}
}

func TestFiles_not_modified(t *testing.T) {
	router := newRouter()
	for _, path := range []string{
		"/docs", "/openapi.json", "/swagger/index.css", "/swagger/swagger-ui-bundle.js", "/redoc", "/redoc/redoc.standalone.js",
		"/guide/", "/guide/limits", "/guide/guide.css",
	} {
		tag := get(router, path).Header().Get("ETag")
		if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).MatchString(tag) {
			t.Errorf("%s: got ETag %s; want a hash of the content", path, tag)
			continue
		}
		response := get(router, path, "If-None-Match", tag)
		if response.Code != http.StatusNotModified || response.Body.Len() != 0 {
			t.Errorf("%s: got status %d with %d bytes; want 304 without a body", path, response.Code, response.Body.Len())
		}
		if response := get(router, path, "If-None-Match", `"another"`); response.Code != http.StatusOK {
			t.Errorf("%s: got status %d for another ETag; want 200", path, response.Code)
		}
	}
}

// gin-swagger remembers the path prefix of its first request: a non-canonical request must not break later ones.
func TestFiles_unknown_paths(t *testing.T) {
	router := newRouter()
	for _, path := range []string{
		"/swagger/x/swagger-ui.css", "/swagger//swagger-ui.css", "/swagger/swagger-ui.css/", "/swagger/../swagger-ui.css",
		"/swagger/swagger-ui.css.map", "/swagger/nothing.js", "/swagger/README.md", "/swagger/.", "/swagger/oauth2-redirect.html",
		"/swagger/x?/swagger/swagger-ui.css", "/demo/orders/none", "/redoc/README.md", "/redoc/x/redoc.standalone.js", "/redoc/LICENSE",
	} {
		if response := get(router, path); response.Code != http.StatusNotFound || response.Body.Len() != 0 {
			t.Errorf("%s: got status %d with %d bytes; want 404 without a body", path, response.Code, response.Body.Len())
		}
	}
	if response := get(router, "/swagger/swagger-ui.css?x=/y/swagger-ui-bundle.js"); response.Body.Len() > 1<<20 {
		t.Error("the query selects another file")
	}
	if response := get(router, "/swagger/swagger-ui.css"); response.Code != http.StatusOK {
		t.Errorf("after the unknown paths: got status %d for the style; want 200", response.Code)
	}
}

func TestFolders_redirect(t *testing.T) {
	for folder, page := range map[string]string{"/swagger/": "/docs", "/redoc/": "/redoc", "/guide": "/guide/", "/demo/orders/": "/demo/orders"} {
		response := get(newRouter(), folder)
		if response.Code != http.StatusFound || response.Header().Get("Location") != page {
			t.Errorf("%s: got status %d to %q; want 302 to %s", folder, response.Code, response.Header().Get("Location"), page)
		}
	}
}

func TestSpec_generated(t *testing.T) {
	router := newRouter()
	for path, want := range map[string]string{"/openapi.json": `"3.1.0"`, "/swagger/doc.json": `"2.0"`} {
		var document map[string]json.RawMessage
		if err := json.Unmarshal(get(router, path).Body.Bytes(), &document); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got := string(document["openapi"]) + string(document["swagger"]); got != want {
			t.Errorf("%s: got version %s; want %s", path, got, want)
		}
	}
	committed, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(router, "/openapi.json").Body.String(); got != string(committed) || string(docs.OpenAPI()) != got {
		t.Error("/openapi.json differs from the committed file")
	}
}

// TestDependencies checks that docs/dependencies.md lists every direct dependency.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1)
	if len(direct) == 0 {
		t.Error("go.mod has no direct dependency")
	}
	for _, module := range direct {
		if !strings.Contains(string(page), module[1]) {
			t.Errorf("dependencies.md doesn't list %s", module[1])
		}
	}
}
