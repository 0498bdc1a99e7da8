package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

const get, head = http.MethodGet, http.MethodHead

// taggedPaths returns paths whose responses have entity tags.
func (a *testApp) taggedPaths(caller *testkit.Client) []string {
	a.t.Helper()
	var order models.Order
	caller.Post("/v1/orders", order1).Want(http.StatusCreated).JSON(&order)
	return []string{"/v1/products", "/v1/products?limit=3", "/v1/products/prd_0y5apuf8zs", "/v1/orders", "/v1/orders/" + order.ID}
}

func TestETag_not_modified(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	tags := map[string]string{}
	for _, path := range app.taggedPaths(caller) {
		for _, method := range []string{get, head} {
			response := caller.Do(method, path, nil).Want(http.StatusOK)
			tag := response.Header.Get("ETag")
			if !regexp.MustCompile(`^"[!#-~]+"$`).MatchString(tag) || response.Header.Get("Cache-Control") != "private, no-cache" {
				t.Fatalf("%s %s: got ETag %s, Cache-Control %q", method, path, tag, response.Header.Get("Cache-Control"))
			}
			if other := tags[tag]; other != "" && other != path {
				t.Errorf("%s and %s have the same tag", path, other)
			}
			tags[tag] = path
			same := caller.Do(method, path, nil, "If-None-Match", tag).Want(http.StatusNotModified)
			if len(same.Body) != 0 || same.Header.Get("ETag") != tag || same.Header.Get("Cache-Control") != "private, no-cache" ||
				same.Header.Get("Vary") != "Accept-Encoding" || same.Header.Get("Content-Type") != "" || same.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s %s: 304: got header %v and %d bytes", method, path, same.Header, len(same.Body))
			}
		}
	}
	for _, path := range []string{"/v1/products/none", "/v1/products?limit=0"} {
		if response := caller.Get(path, "If-None-Match", "*"); response.Status < 400 || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got status %d, header %v; want an error with no-store", path, response.Status, response.Header)
		}
	}
}

func TestETag_if_none_match_syntax(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	const path = "/v1/products/prd_0y5apuf8zs"
	tag := caller.Get(path, "Accept-Encoding", "identity").Want(http.StatusOK).Header.Get("ETag")
	for sent, want := range map[string]int{
		tag:                       http.StatusNotModified,
		"W/" + tag:                http.StatusNotModified, // weak comparison
		`"x", ` + tag:             http.StatusNotModified,
		`"x",` + tag + `,"y"`:     http.StatusNotModified,
		`,, W/"x" ,` + "\t" + tag: http.StatusNotModified,
		`"a,b", ` + tag:           http.StatusNotModified, // comma inside a tag
		"*":                       http.StatusNotModified,
		`"x"`:                     http.StatusOK,
		`"*"`:                     http.StatusOK,
		"":                        http.StatusOK,
		tag[1 : len(tag)-1]:       http.StatusOK, // no quotes
		tag[:len(tag)-1]:          http.StatusOK,
		`"`:                       http.StatusOK,
		`W/`:                      http.StatusOK,
		"w/" + tag:                http.StatusOK, // W is case-sensitive
		"x, " + tag:               http.StatusOK, // tags after a syntax error are ignored
	} {
		if got := caller.Get(path, "If-None-Match", sent, "Accept-Encoding", "identity").Status; got != want {
			t.Errorf("If-None-Match: %s: got status %d; want %d", sent, got, want)
		}
	}
	caller.Get(path, "If-None-Match", "\t* ").Want(http.StatusNotModified)
	caller.Get(path, "If-None-Match", `"x"`, "If-None-Match", tag).Want(http.StatusNotModified) // two lines
}

func TestETag_depends_on_content(t *testing.T) {
	app := newApp(t)
	caller := app.of("o")
	paths := app.taggedPaths(caller)
	before := map[string]string{}
	for _, path := range paths {
		before[path] = caller.Get(path).Want(http.StatusOK).Header.Get("ETag")
	}
	app.exec(`UPDATE products SET stock = stock - 1`) // without updated_at
	app.exec(`UPDATE orders SET status = 'confirmed'`)
	become := func(status int) { // the stock of cached products is up to a second old
		for _, path := range paths {
			app.await(path, func() bool { return caller.Get(path, "If-None-Match", before[path]).Status == status })
		}
	}
	become(http.StatusOK)
	app.exec(`UPDATE products SET stock = stock + 1`)
	app.exec(`UPDATE orders SET status = 'pending'`)
	become(http.StatusNotModified)
}

func TestETag_not_modified_is_charged_as_success(t *testing.T) {
	app := newApp(t)
	app.plan("done", `[{"name":"done","algorithm":"fixed_window","limit":10,"period":"1h","charge":"successes"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "done"}))
	for left := 9; left > 6; left-- {
		response := caller.Get("/v1/products/prd_0y5apuf8zs", "If-None-Match", "*").Want(http.StatusNotModified)
		if got, want := response.Header.Get("RateLimit"), fmt.Sprintf(`"done";r=%d;t=3600`, left); got != want {
			t.Errorf("got RateLimit %s; want %s", got, want)
		}
	}
}
