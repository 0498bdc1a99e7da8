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

// Whatever goes wrong, and wherever, the answer is one shape.
func TestEveryErrorIsAProblem(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	cases := []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"no such path", "GET", "/v2", "", nil, 404},
		{"no such path, with a slash", "GET", "/v1/products/", "", nil, 404},
		{"no such method", "DELETE", "/v1/products", "", nil, 405},
		{"no such product", "GET", "/v1/products/x", "", nil, 404},
		{"no such product, strangely named", "GET", "/v1/products/%00%ff", "", nil, 404},
		{"no JSON", "POST", "/v1/orders", "{", nil, 400},
		{"no type", "POST", "/v1/orders", "{}", []string{"Content-Type", "text/plain"}, 415},
		{"too large", "POST", "/v1/orders", strings.Repeat(" ", 65<<10), nil, 413},
		{"invalid", "POST", "/v1/orders", "{}", nil, 422},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			var body any
			if test.body != "" {
				body = test.body
			}
			answer := caller.Do(test.method, test.path, body, append(test.header, "X-Request-Id", "mine")...).Want(test.status)
			if got := answer.Header.Get("Content-Type"); got != middleware.ProblemMediaType {
				t.Errorf("Content-Type %s", got)
			}
			var problem middleware.Problem
			answer.JSON(&problem)
			if problem.Status != test.status || problem.Title != http.StatusText(test.status) || problem.Detail == "" ||
				problem.Type != "about:blank" || problem.RequestID != "mine" || problem.Instance == "" {
				t.Errorf("problem %+v", problem)
			}
			if (problem.Errors != nil) != (test.status == 422) {
				t.Errorf("errors %v", problem.Errors)
			}
		})
	}
	if allow := caller.Do("DELETE", "/v1/orders", nil).Want(405).Header.Get("Allow"); allow != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow %q", allow)
	}
}

// What else can go wrong, each in its own way, has the same shape.
func TestEveryStatusOfAnErrorHasOneShape(t *testing.T) {
	app := newApp(t)
	app.plan("one", `[{"name":"one","algorithm":"fixed_window","limit":1,"period":"1h"}]`)
	limited, admin, caller := app.caller("one"), app.admin(), app.caller("internal")
	limited.Get("/v1/products").Want(http.StatusOK)
	app.exec(`ALTER TABLE order_items RENAME TO hidden`)
	answers := []*testkit.Response{
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
	answers = append(answers, app.Get("/readyz").Want(http.StatusServiceUnavailable))
	for _, answer := range answers {
		var problem middleware.QuotaProblem // which has every field
		answer.JSON(&problem)
		if answer.Header.Get("Content-Type") != middleware.ProblemMediaType || problem.Status != answer.Status || problem.Type == "" ||
			problem.Title != http.StatusText(answer.Status) || problem.Detail == "" || problem.Instance == "" ||
			problem.RequestID != answer.Header.Get("X-Request-Id") || answer.Header.Get("ETag") != "" {
			t.Errorf("%d: %s", answer.Status, answer.Body)
		}
	}
}

// What is no HTTP request never reaches a handler: net/http answers it, and how
// can't be changed. The connection is closed.
func TestWhatIsNoRequestIsAnsweredInPlainText(t *testing.T) {
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
		answer, err := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 "+want) || !strings.Contains(string(answer), "text/plain") || err != nil {
			t.Errorf("%q: %v, %s", sent, err, answer)
		}
	}
}

func TestInternalsStayInside(t *testing.T) {
	app := newApp(t)
	caller := app.caller("internal")
	app.exec(`ALTER TABLE products RENAME TO hidden`)
	answer := caller.Get("/v1/products", "X-Request-Id", "find-me").Want(http.StatusInternalServerError)
	for _, internal := range []string{"products\" does", "SQLSTATE", "relation", "shop"} {
		if strings.Contains(string(answer.Body), internal) {
			t.Errorf("the answer tells %q: %s", internal, answer.Body)
		}
	}
	if log := app.log.String(); !strings.Contains(log, "find-me") || !strings.Contains(log, "relation") {
		t.Errorf("the log has to tell the cause:\n%s", log)
	}
}

func TestARequestIDIsAcceptedOrMade(t *testing.T) {
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
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
}

func TestReadinessTellsWhatIsMissing(t *testing.T) {
	app := newApp(t)
	app.Get("/livez").Want(http.StatusOK)
	app.Get("/readyz").Want(http.StatusOK)

	app.exec(`DELETE FROM goose_db_version WHERE version_id = 3`)
	app.awaitReady(http.StatusServiceUnavailable)
	if got := app.Get("/readyz").Want(http.StatusServiceUnavailable); !strings.Contains(string(got.Body), "migration is pending") {
		t.Errorf("body %s", got.Body)
	}
	app.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true)`)
	app.awaitReady(http.StatusOK)

	app.db.Close()
	app.awaitReady(http.StatusServiceUnavailable)
	app.Get("/livez").Want(http.StatusOK)
}

// awaitReady waits until /readyz has this status: checks are reused for a second.
func (a *testApp) awaitReady(status int) {
	a.t.Helper()
	a.await("readiness", func() bool { return a.Get("/readyz").Status == status })
}
