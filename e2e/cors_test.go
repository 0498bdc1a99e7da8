package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

const (
	listedOrigin   = "https://shop.example"
	unlistedOrigin = "https://other.example"

	allowOrigin  = "Access-Control-Allow-Origin"
	allowHeaders = "Access-Control-Allow-Headers"
)

// corsFields returns the names of the headers that CORS sets.
func corsFields(header http.Header) []string {
	var names []string
	for name := range header {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" && strings.Contains(strings.Join(header[name], ","), "Origin") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func preflight(caller *testkit.Client, path, origin string, header ...string) *testkit.Response {
	return caller.Do(http.MethodOptions, path, nil, append(header, "Origin", origin, "Access-Control-Request-Method", "POST")...)
}

func TestCORS_disabled(t *testing.T) {
	app := newApp(t)
	for _, response := range []*testkit.Response{
		preflight(app.Client, "/v1/orders", listedOrigin).Want(http.StatusNoContent),
		app.caller("internal").Get("/v1/products", "Origin", listedOrigin).Want(http.StatusOK),
		app.Get("/v1/products", "Origin", listedOrigin).Want(http.StatusUnauthorized),
	} {
		if got := corsFields(response.Header); got != nil {
			t.Errorf("got CORS fields %v; want none", got)
		}
	}
}

func TestCORS_listed_origin(t *testing.T) {
	app := newApp(t, withOrigins(listedOrigin, "http://localhost:3000"))
	const headers = "Authorization, X-API-Key, Content-Type, Accept, If-Match, If-None-Match, Idempotency-Key, X-Request-Id, traceparent, tracestate"
	const exposed = "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, ETag, Link, Location, Allow, WWW-Authenticate, Content-Disposition, Idempotency-Replayed"
	for _, requested := range []string{"authorization,content-type,idempotency-key", "Idempotency-Key, Authorization", ""} {
		response := preflight(app.Client, "/v1/orders", listedOrigin, "Access-Control-Request-Headers", requested).Want(http.StatusNoContent)
		if response.Header.Get(allowOrigin) != listedOrigin || response.Header.Get(allowHeaders) != headers || len(response.Body) != 0 ||
			response.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD, POST, PUT, PATCH, DELETE" ||
			response.Header.Get("Access-Control-Max-Age") != "7200" || response.Header.Get("RateLimit") != "" {
			t.Errorf("preflight for %q: got header %v", requested, response.Header)
		}
	}
	if response := preflight(app.Client, "/v1/orders", listedOrigin, "Access-Control-Request-Headers", "authorization,x-other"); response.Header.Get(allowOrigin) != "" {
		t.Errorf("preflight for an unlisted field: got header %v; want it rejected", response.Header)
	}
	caller := app.caller("internal")
	for _, response := range []*testkit.Response{
		caller.Get("/v1/products", "Origin", listedOrigin).Want(http.StatusOK),
		caller.Get("/v1/products", "Origin", listedOrigin, "If-None-Match", "*").Want(http.StatusNotModified),
		app.Get("/v1/products", "Origin", listedOrigin).Want(http.StatusUnauthorized),
		app.Get("/v1/none", "Origin", listedOrigin).Want(http.StatusNotFound),
		app.Do("PUT", "/v1/products", nil, "Origin", listedOrigin).Want(http.StatusMethodNotAllowed),
		caller.Post("/v1/orders", "{}", "Origin", listedOrigin).Want(http.StatusUnprocessableEntity),
	} {
		vary := strings.Join(response.Header.Values("Vary"), ", ")
		if response.Header.Get(allowOrigin) != listedOrigin || !strings.EqualFold(response.Header.Get("Access-Control-Expose-Headers"), exposed) ||
			!strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("status %d: got header %v", response.Status, response.Header)
		}
		if response.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed; want no Access-Control-Allow-Credentials")
		}
	}
}

func TestCORS_unlisted_origin(t *testing.T) {
	app := newApp(t, withOrigins(listedOrigin))
	for _, origin := range []string{unlistedOrigin, listedOrigin + ".evil.example", "http://shop.example", listedOrigin + ":8443", "null"} {
		preflighted := preflight(app.Client, "/v1/orders", origin).Want(http.StatusNoContent)
		if preflighted.Header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
			t.Errorf("got Allow %s", preflighted.Header.Get("Allow"))
		}
		for _, response := range []*testkit.Response{preflighted, app.caller("internal").Get("/v1/products", "Origin", origin).Want(http.StatusOK)} {
			if got := corsFields(response.Header); fmt.Sprint(got) != "[Vary]" {
				t.Errorf("%s: got CORS fields %v; want [Vary]", origin, got)
			}
		}
	}
}

func TestCORS_any_origin(t *testing.T) {
	app := newApp(t, withOrigins("*"))
	if got := preflight(app.Client, "/v1/orders", unlistedOrigin).Want(http.StatusNoContent).Header.Get(allowOrigin); got != "*" {
		t.Errorf("preflight: got %s; want *", got)
	}
	if got := app.Get("/v1/products", "Origin", unlistedOrigin).Want(http.StatusUnauthorized).Header.Get(allowOrigin); got != "*" {
		t.Errorf("request: got %s; want *", got)
	}
}

// Pages call the API of another origin in a browser.
func TestCORS_browser(t *testing.T) {
	browser := testkit.NewBrowser(t)
	newPage := func() string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>A shop</title><p id=shop>shop</p>")
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	listed, unlisted := newPage(), newPage()
	app := newApp(t, withOrigins(listed))
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	key := app.key(models.NewKey{Plan: "two"})
	read := func(from, path string) string {
		browser.Do(chromedp.Navigate(from))
		browser.Do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void fetch(%q, {headers: {Authorization: "Bearer %s", "X-Request-Id": "mine"}})
			.then(async r => [r.status, r.headers.get("RateLimit"), r.headers.get("Retry-After") !== null, (await r.json()).status].join(" "))
			.catch(e => e.name)
			.then(text => { const p = document.createElement("p"); p.id = "got"; p.textContent = text; document.body.append(p) })`, app.Base()+path, key)))
		return browser.Text("#got")
	}
	for _, step := range []struct{ from, path, want string }{
		{listed, "/v1/products", `200 "two";r=1;t=3600 false`},
		{unlisted, "/v1/products", "TypeError"}, // the rejected preflight costs nothing
		{listed, "/v1/none", `404 false 404`},
		{listed, "/v1/products", `200 "two";r=0;t=3600 false`},
		{listed, "/v1/products", `429 "two";r=0;t=3600 true 429`},
	} {
		if got := read(step.from, step.path); got != step.want {
			t.Errorf("%s %s: the page got %q; want %q", step.from, step.path, got, step.want)
		}
	}
}
