package e2e

import (
	"net/http"
	"testing"
	"time"

	"ratelimiter/middleware"
)

// Requests without a key are bounded by address, of whichever kind they are; health checks and requests with a key aren't.
func TestAnonymous_limit_by_address(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	caller := app.caller("internal")
	stranger := app.Undescribed("429 is described for no path that needs no key")
	calls := []struct {
		method, path string
		status       int
	}{
		{get, "/docs", http.StatusOK}, {head, "/openapi.json", http.StatusOK}, {get, "/swagger/index.css", http.StatusOK}, {get, "/redoc/none", http.StatusNotFound},
		{get, "/", http.StatusFound}, {get, "/nowhere", http.StatusNotFound}, {put, "/v1/me", http.StatusMethodNotAllowed},
		{http.MethodOptions, "/v1/orders", http.StatusNoContent},
	}
	// spend sends n requests from an address and returns how many were served.
	spend := func(n int, address string) (served int) {
		t.Helper()
		for i := range n {
			call := calls[i%len(calls)]
			response := stranger.Do(call.method, call.path, nil, "X-Forwarded-For", address)
			if response.Status != http.StatusTooManyRequests {
				response.Want(call.status)
				served++
				continue
			}
			if call.method == head {
				continue
			}
			var problem middleware.QuotaProblem
			response.JSON(&problem)
			if problem.Code != "rate_limited" || len(problem.ViolatedPolicies) != 1 || problem.ViolatedPolicies[0] != "anonymous" ||
				problem.RetryAfter == nil || response.Header.Get("Retry-After") == "" || response.Header.Get("ETag")+response.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s %s: got %s, header %v", call.method, call.path, response.Body, response.Header)
			}
		}
		return served
	}
	for _, step := range []struct {
		address string
		sent    int
		served  int
		after   time.Duration
	}{
		{"192.0.2.1", 130, 100, 0},
		{"192.0.2.1", 40, 25, time.Second / 4},
		{"192.0.2.2", 101, 100, 0},
		{"2001:db8::1", 60, 60, 0},
		{"2001:db8::ffff", 60, 40, 0}, // the same /64
		{"2001:db8:0:1::1", 60, 60, 0},
	} {
		app.clock.Advance(step.after)
		if got := spend(step.sent, step.address); got != step.served {
			t.Errorf("%s: %d of %d requests were served; want %d", step.address, got, step.sent, step.served)
		}
	}
	for range 110 {
		app.Get("/livez", "X-Forwarded-For", "192.0.2.1").Want(http.StatusOK)
		app.Get("/readyz", "X-Forwarded-For", "192.0.2.1").Want(http.StatusOK)
	}
	caller.Get("/v1/products", "X-Forwarded-For", "192.0.2.1").Want(http.StatusOK)
}
