package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"ratelimiter/handlers"
)

// alwaysReady implements handlers.Readiness.
type alwaysReady struct{}

func (alwaysReady) NotReady(context.Context) string { return "" }

func (alwaysReady) Limitation() string { return "" }

// callOps sends a request to the handler of an ops address.
func callOps(addr, method, path, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, http.NoBody)
	r.Host = host
	w := httptest.NewRecorder()
	NewOpsHandler(addr, handlers.NewHealth(alwaysReady{}), http.NotFoundHandler(), slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	return w
}

func TestOpsHandler_hosts(t *testing.T) {
	loopback := []string{"127.0.0.1:9090", "localhost:0", "[::1]:9090", "127.9.9.9:1"}
	for _, addr := range append(slices.Clone(loopback), ":9090", "0.0.0.0:9090", "10.0.0.1:9090", "[::]:9090") {
		checked := slices.Contains(loopback, addr)
		for host, allowed := range map[string]bool{
			"": true, "localhost": true, "LocalHost:9090": true, "127.0.0.1": true, "127.0.0.1:1": true, "127.1.2.3:9090": true, "[::1]": true, "[::1]:9090": true,
			"evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "10.0.0.1": false,
			"[::2]:9090": false, "127.0.0.1:9090:9090": false, "127.0.0.1x": false, "[": false,
		} {
			for _, path := range []string{"/livez", "/readyz", "/debug/pprof/cmdline", "/none"} {
				want := http.StatusOK
				if path == "/none" {
					want = http.StatusNotFound
				}
				if checked && !allowed {
					want = http.StatusMisdirectedRequest
				}
				got := callOps(addr, http.MethodGet, path, host)
				if got.Code != want || want == http.StatusMisdirectedRequest && !strings.Contains(got.Body.String(), "host_not_allowed") {
					t.Errorf("OPS_ADDR %s, Host %q: GET %s: %d %s; want %d", addr, host, path, got.Code, got.Body, want)
				}
			}
		}
	}
}

func TestOpsHandler_methods(t *testing.T) {
	for call, want := range map[string]int{
		"POST /livez": 405, "DELETE /debug/pprof/heap": 405, "HEAD /livez": 200, "HEAD /readyz": 200, "POST /none": 404,
	} {
		method, path, _ := strings.Cut(call, " ")
		got := callOps("127.0.0.1:9090", method, path, "localhost")
		if got.Code != want || (want == http.StatusMethodNotAllowed) != strings.HasPrefix(got.Header().Get("Allow"), "GET") {
			t.Errorf("%s: %d, Allow %q; want %d", call, got.Code, got.Header().Get("Allow"), want)
		}
	}
}
