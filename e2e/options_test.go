package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/server"
	"ratelimiter/models"
)

// OPTIONS needs no key and costs nothing. It lists exactly the path's methods, also
// where a pattern with more matches the path. All others get a 405 with the same Allow.
func TestOptions_allow(t *testing.T) {
	app := newApp(t)
	methods := map[string][]string{}
	for _, r := range server.Routes(server.Handlers{}) {
		path := strings.Replace(pathParameter.ReplaceAllString(r.Path, "x"), "*any", "x", 1)
		methods[path] = append(methods[path], r.Method)
	}
	for path, expected := range methods {
		app.clock.Advance(time.Second) // requests without a key are limited
		response := app.Do(http.MethodOptions, path, nil).Want(http.StatusNoContent)
		allow := response.Header.Get("Allow")
		if slices.Contains(expected, get) {
			expected = append(expected, head)
		}
		expected = append(expected, http.MethodOptions)
		slices.Sort(expected)
		if want := strings.Join(expected, ", "); allow != want {
			t.Errorf("%s: got Allow %s; want %s", path, allow, want)
		}
		if len(response.Body) != 0 || response.Header.Get("RateLimit") != "" || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got header %v, %d bytes", path, response.Header, len(response.Body))
		}
		for _, method := range []string{get, head, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PROPFIND"} {
			if slices.Contains(expected, method) {
				continue
			}
			if got := app.Do(method, path, nil).Want(http.StatusMethodNotAllowed).Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: got Allow %s in a 405; want %s", method, path, got, allow)
			}
		}
	}
	app.clock.Advance(time.Second)
	for _, path := range []string{"/v0", "/v1", "/v1/product", "/v1/products/"} {
		app.Do(http.MethodOptions, path, nil).Want(http.StatusNotFound)
	}
}

func TestOptions_not_charged(t *testing.T) {
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "two"}))
	for range 5 {
		caller.Do(http.MethodOptions, "/v1/products", nil).Want(http.StatusNoContent)
	}
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"two";r=1;t=3600` {
		t.Errorf("got RateLimit %s; want r=1", got)
	}
}
