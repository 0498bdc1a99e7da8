package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/server"
	"ratelimiter/models"
)

// Every path says what it takes, without a key and at no cost, and OPTIONS and
// 405 say the same.
func TestEveryPathAnswersOptions(t *testing.T) {
	app := newApp(t)
	methods := map[string][]string{}
	for _, r := range server.Routes(server.Handlers{}) {
		path := strings.Replace(pathParameter.ReplaceAllString(r.Path, "x"), "*any", "x", 1)
		methods[path] = append(methods[path], r.Method)
	}
	for path, taken := range methods {
		answer := app.Do(http.MethodOptions, path, nil).Want(http.StatusNoContent)
		allow := answer.Header.Get("Allow")
		for _, method := range taken {
			if !strings.Contains(", "+allow+",", ", "+method+",") {
				t.Errorf("%s: Allow %s; want %s in it", path, allow, method)
			}
		}
		if strings.Contains(allow, get) != strings.Contains(allow, head) || !strings.Contains(allow, http.MethodOptions) {
			t.Errorf("%s: Allow %s", path, allow)
		}
		if len(answer.Body) != 0 || answer.Header.Get("RateLimit") != "" || answer.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v, %d bytes", path, answer.Header, len(answer.Body))
		}
		if got := app.Do("PROPFIND", path, nil).Want(http.StatusMethodNotAllowed).Header.Get("Allow"); got != allow {
			t.Errorf("%s: a 405 allows %s, OPTIONS %s", path, got, allow)
		}
	}
	for path, allow := range map[string]string{
		"/v1/products": "GET, HEAD, OPTIONS", "/v1/orders": "GET, HEAD, OPTIONS, POST", "/v1/admin/plans/x": "DELETE, GET, HEAD, OPTIONS, PUT",
	} {
		if got := app.Do(http.MethodOptions, path, nil).Header.Get("Allow"); got != allow {
			t.Errorf("%s allows %s; want %s", path, got, allow)
		}
	}
	for _, path := range []string{"/v0", "/v1", "/v1/product", "/v1/products/"} {
		app.Do(http.MethodOptions, path, nil).Want(http.StatusNotFound)
	}
}

func TestOptionsCostsNothing(t *testing.T) {
	app := newApp(t)
	app.plan("two", `[{"name":"two","algorithm":"fixed_window","limit":2,"period":"1h"}]`)
	caller := app.As(app.key(models.NewKey{Plan: "two"}))
	for range 5 {
		caller.Do(http.MethodOptions, "/v1/products", nil).Want(http.StatusNoContent)
	}
	if got := caller.Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"two";r=1;t=3600` {
		t.Errorf("RateLimit %s", got)
	}
}
