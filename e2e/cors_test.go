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
	page     = "https://shop.example"
	stranger = "https://other.example"

	allowOrigin  = "Access-Control-Allow-Origin"
	allowHeaders = "Access-Control-Allow-Headers"
)

// corsFields are the fields of an answer that CORS sets.
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

func TestWithoutTheSettingThereIsNoCORS(t *testing.T) {
	app := newApp(t)
	for _, answer := range []*testkit.Response{
		preflight(app.Client, "/v1/orders", page).Want(http.StatusNoContent),
		app.caller("internal").Get("/v1/products", "Origin", page).Want(http.StatusOK),
		app.Get("/v1/products", "Origin", page).Want(http.StatusUnauthorized),
	} {
		if got := corsFields(answer.Header); got != nil {
			t.Errorf("fields %v", got)
		}
	}
}

func TestAListedOriginMaySendAndRead(t *testing.T) {
	app := newApp(t, withOrigins(page, "http://localhost:3000"))
	const headers = "Authorization, X-API-Key, Content-Type, Accept, If-Match, If-None-Match, Idempotency-Key, X-Request-Id"
	const exposed = "RateLimit, RateLimit-Policy, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, ETag, Link, Location, Allow, WWW-Authenticate, Content-Disposition, Idempotency-Replayed"
	for _, asked := range []string{"authorization,content-type,idempotency-key", "Idempotency-Key, Authorization", ""} {
		answer := preflight(app.Client, "/v1/orders", page, "Access-Control-Request-Headers", asked).Want(http.StatusNoContent)
		if answer.Header.Get(allowOrigin) != page || answer.Header.Get(allowHeaders) != headers || len(answer.Body) != 0 ||
			answer.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD, POST, PUT, PATCH, DELETE" ||
			answer.Header.Get("Access-Control-Max-Age") != "7200" || answer.Header.Get("RateLimit") != "" {
			t.Errorf("asked for %q: %v", asked, answer.Header)
		}
	}
	if answer := preflight(app.Client, "/v1/orders", page, "Access-Control-Request-Headers", "authorization,x-other"); answer.Header.Get(allowOrigin) != "" {
		t.Errorf("a field that isn't listed is allowed: %v", answer.Header)
	}
	caller := app.caller("internal")
	for _, answer := range []*testkit.Response{
		caller.Get("/v1/products", "Origin", page).Want(http.StatusOK),
		caller.Get("/v1/products", "Origin", page, "If-None-Match", "*").Want(http.StatusNotModified),
		app.Get("/v1/products", "Origin", page).Want(http.StatusUnauthorized),
		app.Get("/v1/none", "Origin", page).Want(http.StatusNotFound),
		app.Do("PUT", "/v1/products", nil, "Origin", page).Want(http.StatusMethodNotAllowed),
		caller.Post("/v1/orders", "{}", "Origin", page).Want(http.StatusUnprocessableEntity),
	} {
		vary := strings.Join(answer.Header.Values("Vary"), ", ")
		if answer.Header.Get(allowOrigin) != page || !strings.EqualFold(answer.Header.Get("Access-Control-Expose-Headers"), exposed) ||
			!strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%d: %v", answer.Status, answer.Header)
		}
		if answer.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
}

func TestAnOriginThatIsNotListedIsServedAsWithoutCORS(t *testing.T) {
	app := newApp(t, withOrigins(page))
	for _, origin := range []string{stranger, page + ".evil.example", "http://shop.example", page + ":8443", "null"} {
		asked := preflight(app.Client, "/v1/orders", origin).Want(http.StatusNoContent)
		if asked.Header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
			t.Errorf("Allow %s", asked.Header.Get("Allow"))
		}
		for _, answer := range []*testkit.Response{asked, app.caller("internal").Get("/v1/products", "Origin", origin).Want(http.StatusOK)} {
			if got := corsFields(answer.Header); fmt.Sprint(got) != "[Vary]" {
				t.Errorf("%s: fields %v", origin, got)
			}
		}
	}
}

func TestEveryOriginMayRead(t *testing.T) {
	app := newApp(t, withOrigins("*"))
	if got := preflight(app.Client, "/v1/orders", stranger).Want(http.StatusNoContent).Header.Get(allowOrigin); got != "*" {
		t.Errorf("preflight: %s", got)
	}
	if got := app.Get("/v1/products", "Origin", stranger).Want(http.StatusUnauthorized).Header.Get(allowOrigin); got != "*" {
		t.Errorf("request: %s", got)
	}
}

// A page of one origin calls the API at another, in a real browser.
func TestABrowserShowsLimitsToListedPagesOnly(t *testing.T) {
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
		{unlisted, "/v1/products", "TypeError"}, // its preflight isn't allowed, so it costs nothing
		{listed, "/v1/none", `404 false 404`},
		{listed, "/v1/products", `200 "two";r=0;t=3600 false`},
		{listed, "/v1/products", `429 "two";r=0;t=3600 true 429`},
	} {
		if got := read(step.from, step.path); got != step.want {
			t.Errorf("%s %s: the page reads %q; want %q", step.from, step.path, got, step.want)
		}
	}
}
