package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
)

func TestErrors_of_requests(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	cases := []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"unknown path", "GET", "/v2", "", nil, 404},
		{"trailing slash", "GET", "/v1/products/", "", nil, 404},
		{"unknown method", "DELETE", "/v1/products", "", nil, 405},
		{"unknown product", "GET", "/v1/products/x", "", nil, 404},
		{"unknown product, binary ID", "GET", "/v1/products/%00%ff", "", nil, 404},
		{"not JSON", "POST", "/v1/orders", "{", nil, 400},
		{"unsupported type", "POST", "/v1/orders", "{}", []string{"Content-Type", "text/plain"}, 415},
		{"too large", "POST", "/v1/orders", strings.Repeat(" ", 65<<10), nil, 413},
		{"invalid", "POST", "/v1/orders", "{}", nil, 422},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			var body any
			if test.body != "" {
				body = test.body
			}
			response := caller.Do(test.method, test.path, body, append(test.header, "X-Request-Id", "mine")...).Want(test.status)
			if got := response.Header.Get("Content-Type"); got != middleware.ProblemMediaType {
				t.Errorf("got Content-Type %s; want %s", got, middleware.ProblemMediaType)
			}
			var problem middleware.Problem
			response.JSON(&problem)
			if problem.Status != test.status || problem.Title != http.StatusText(test.status) || problem.Detail == "" ||
				problem.Type != "about:blank" || problem.RequestID != "mine" || problem.Instance == "" {
				t.Errorf("got problem %+v", problem)
			}
			if (problem.Errors != nil) != (test.status == 422) {
				t.Errorf("got errors %v; want them only in a 422", problem.Errors)
			}
		})
	}
	if allow := caller.Do("DELETE", "/v1/orders", nil).Want(405).Header.Get("Allow"); allow != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("got Allow %q", allow)
	}
}

func TestErrors_of_other_causes(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.plan("one", `[{"name":"one","algorithm":"fixed_window","limit":1,"period":"1h"}]`)
	limited, admin, caller := app.caller("one"), app.admin(), app.caller("internal")
	limited.Get("/v1/products").Want(http.StatusOK)
	app.exec(`ALTER TABLE order_items RENAME quantity TO hidden`)
	responses := []*testkit.Response{
		app.Get("/v1/products").Want(http.StatusUnauthorized),
		app.As("rl_live_wrong").Get("/v1/products").Want(http.StatusUnauthorized),
		caller.Get("/v1/admin/keys").Want(http.StatusForbidden),
		app.Get("/swagger/none").Want(http.StatusNotFound),
		app.Do(http.MethodOptions, "/none", nil).Want(http.StatusNotFound),
		app.Do("FROB", "/docs", nil).Want(http.StatusMethodNotAllowed),
		admin.Do(del, "/v1/admin/plans/one", nil).Want(http.StatusConflict),
		admin.Do(put, "/v1/admin/plans/one", minutePlan(1), "If-Match", `"99"`).Want(http.StatusPreconditionFailed),
		app.Get("/openapi.json", "If-Match", `"99"`).Want(http.StatusPreconditionFailed),
		limited.Get("/v1/products").Want(http.StatusTooManyRequests),
		caller.Post("/v1/orders", order1).Want(http.StatusInternalServerError),
	}
	app.db.Close()
	app.awaitReady(http.StatusServiceUnavailable)
	responses = append(responses, app.Get("/readyz").Want(http.StatusServiceUnavailable))
	for _, response := range responses {
		var problem middleware.QuotaProblem // the type with all fields
		response.JSON(&problem)
		if response.Header.Get("Content-Type") != middleware.ProblemMediaType || problem.Status != response.Status || problem.Type == "" ||
			problem.Title != http.StatusText(response.Status) || problem.Detail == "" || problem.Instance == "" ||
			problem.RequestID != response.Header.Get("X-Request-Id") || response.Header.Get("ETag") != "" {
			t.Errorf("status %d: got body %s", response.Status, response.Body)
		}
	}
}

// net/http responds to malformed requests itself, in plain text, and closes the
// connection.
func TestErrors_malformed_http(t *testing.T) {
	app := newApp(t)
	for sent, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":                                    "400 Bad Request",
		"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n":                      "400 Bad Request",
		"nonsense\r\n\r\n":                                          "400 Bad Request",
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n": "501 Not Implemented",
		"GET / HTTP/3.7\r\nHost: x\r\n\r\n":                         "505 HTTP Version Not Supported",
	} {
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(app.Base(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		response, err := io.ReadAll(conn)
		if !strings.HasPrefix(string(response), "HTTP/1.1 "+want) || !strings.Contains(string(response), "text/plain") || err != nil {
			t.Errorf("%q: got response %s, error %v; want %s", sent, response, err, want)
		}
	}
}

func TestErrors_omit_internals(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	app.exec(`ALTER TABLE products RENAME sku TO hidden`)
	response := caller.Get("/v1/products", "X-Request-Id", "find-me").Want(http.StatusInternalServerError)
	for _, internal := range []string{"sku\" does", "SQLSTATE", "column", "shop"} {
		if strings.Contains(string(response.Body), internal) {
			t.Errorf("the response contains %q: %s", internal, response.Body)
		}
	}
	if log := app.log.String(); !strings.Contains(log, "find-me") || !strings.Contains(log, "column") {
		t.Errorf("want the cause in the log, got\n%s", log)
	}
}

func TestRequestID(t *testing.T) {
	app := newApp(t)
	for sent, kept := range map[string]bool{
		"":                      false,
		"trace 1/2 {a}":         true,
		strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false,
		"tab\there":             false,
		"ümlaut":                false,
	} {
		got := app.Get("/livez", "X-Request-Id", sent).Want(http.StatusOK).Header.Get("X-Request-Id")
		if got == "" || (got == sent) != kept {
			t.Errorf("sent %q: got %q; want it kept: %t", sent, got, kept)
		}
	}
}

func TestReadiness(t *testing.T) {
	app := newApp(t)
	app.Get("/livez").Want(http.StatusOK)
	app.Get("/readyz").Want(http.StatusOK)

	app.exec(`DELETE FROM goose_db_version WHERE version_id = 3`)
	app.awaitReady(http.StatusServiceUnavailable)
	if got := app.Get("/readyz").Want(http.StatusServiceUnavailable); !strings.Contains(string(got.Body), "migration is pending") {
		t.Errorf("got body %s; want the pending migration", got.Body)
	}
	app.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true)`)
	app.awaitReady(http.StatusOK)

	app.db.Close()
	app.awaitReady(http.StatusServiceUnavailable)
	app.Get("/livez").Want(http.StatusOK)
}

// awaitReady waits until /readyz has this status. Its checks are cached for a second.
func (a *testApp) awaitReady(status int) {
	a.t.Helper()
	a.await("readiness", func() bool { return a.Get("/readyz").Status == status })
}
