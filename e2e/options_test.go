package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/server"
	"ratelimiter/models"
)

// OPTIONS needs no key and costs nothing. Its Allow equals that of a 405.
func TestOptions_allow(t *testing.T) {
	app := newApp(t)
	methods := map[string][]string{}
	for _, r := range server.Routes(server.Handlers{}) {
		path := strings.Replace(pathParameter.ReplaceAllString(r.Path, "x"), "*any", "x", 1)
		methods[path] = append(methods[path], r.Method)
	}
	for path, expected := range methods {
		response := app.Do(http.MethodOptions, path, nil).Want(http.StatusNoContent)
		allow := response.Header.Get("Allow")
		for _, method := range expected {
			if !strings.Contains(", "+allow+",", ", "+method+",") {
				t.Errorf("%s: got Allow %s; want it to contain %s", path, allow, method)
			}
		}
		if strings.Contains(allow, get) != strings.Contains(allow, head) || !strings.Contains(allow, http.MethodOptions) {
			t.Errorf("%s: got Allow %s; want GET with HEAD, and OPTIONS", path, allow)
		}
		if len(response.Body) != 0 || response.Header.Get("RateLimit") != "" || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got header %v, %d bytes", path, response.Header, len(response.Body))
		}
		if got := app.Do("PROPFIND", path, nil).Want(http.StatusMethodNotAllowed).Header.Get("Allow"); got != allow {
			t.Errorf("%s: got Allow %s in a 405; want %s", path, got, allow)
		}
	}
	for path, allow := range map[string]string{
		"/v1/products": "GET, HEAD, OPTIONS, POST", "/v1/me": "GET, HEAD, OPTIONS", "/v1/orders": "GET, HEAD, OPTIONS, POST", "/v1/admin/plans/x": "DELETE, GET, HEAD, OPTIONS, PUT",
	} {
		if got := app.Do(http.MethodOptions, path, nil).Header.Get("Allow"); got != allow {
			t.Errorf("%s: got Allow %s; want %s", path, got, allow)
		}
	}
	app = newApp(t) // whose requests without a key aren't used up
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
