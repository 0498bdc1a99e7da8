package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/models"
)

// eur is what tests pay.
var eur = models.Money{Amount: 1999, Currency: "EUR"}

// token is a payment token that must not appear anywhere.
const token = "tok_hunter2"

// newClient returns a client of a gateway that handler implements.
func newClient(t *testing.T, handler http.HandlerFunc) (*Gateway, *results) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	counted := &results{}
	g := NewGateway(func() string { return strings.Replace(server.URL, "//", "//user:hunter2@", 1) + "/base" }, slog.New(slog.DiscardHandler), counted.count)
	t.Cleanup(func() { _ = g.Stop(t.Context()) })
	return g, counted
}

// results are the calls that were counted.
type results struct{ list []string }

func (r *results) count(call, result string) { r.list = append(r.list, call+" "+result) }

// wantErr checks an error, which must not contain secrets or the URL.
func wantErr(t *testing.T, name string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got error %v; want %q", name, err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "http://")) {
		t.Errorf("%s: the error contains a secret or the URL: %v", name, err)
	}
}

func TestGateway_Authorize(t *testing.T) {
	g, counted := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPost || r.URL.Path != "/base/authorizations" || user != "user" || password != "hunter2" || r.Header.Get("Idempotency-Key") != "ord_1:authorize" {
			t.Errorf("got %s %s, header %v", r.Method, r.URL, r.Header)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"id":"auth_1","status":"authorized","more":{}}`)
	})
	a, err := g.Authorize(t.Context(), "ord_1", eur, token)
	if err != nil || a != (Authorization{"auth_1", AuthorizationHeld}) || counted.list[0] != "authorize ok" {
		t.Errorf("got %+v, error %v, counted %v", a, err, counted.list)
	}
}

// Responses that are no answer are errors that say why.
func TestGateway_failures(t *testing.T) {
	respond := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		handler  http.HandlerFunc
		err      string
		counted  string
		requests int32
	}{
		"failure":         {respond(500, `{"detail":"`+token+`"}`), "the gateway answered 500 Internal Server Error", "authorize failed", 1},
		"too many":        {respond(429, ``), "429", "authorize failed", 1},
		"no account":      {respond(401, ``), "401", "authorize failed", 1},
		"redirect":        {respond(307, ``), "307", "authorize failed", 1},
		"unknown refusal": {respond(409, `{"code":"in_progress"}`), "409", "authorize failed", 1},
		"no JSON":         {respond(200, `<html>`), "malformed", "authorize failed", 1},
		"no id":           {respond(201, `{"status":"authorized"}`), "malformed", "authorize ok", 1},
		"NUL":             {respond(201, `{"id":"a\u0000","status":"authorized"}`), "malformed", "authorize ok", 1},
		"unknown status":  {respond(201, `{"id":"auth_1","status":"maybe"}`), "malformed", "authorize ok", 1},
		// The outcome is unknown, so that the gateway is asked.
		"huge":        {respond(201, `{"id":"`+strings.Repeat("x", 1<<20)+`"}`), "exceeds 64 KiB", "authorize unknown", 2},
		"huge header": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header", "authorize unknown", 2},
		"cut":         {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", "authorize unknown", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			g, counted := newClient(t, func(w http.ResponseWriter, r *http.Request) { requests.Add(1); test.handler(w, r) })
			g.transport.DisableKeepAlives = true // otherwise a cut connection is replaced once
			_, err := g.Authorize(t.Context(), "ord_1", eur, token)
			wantErr(t, name, err, test.err)
			if counted.list[0] != test.counted || requests.Load() != test.requests {
				t.Errorf("got %v in %d requests; want %s in %d", counted.list, requests.Load(), test.counted, test.requests)
			}
		})
	}
	g := NewGateway(func() string { return "http://user:hunter2@127.0.0.1:1" }, slog.New(slog.DiscardHandler), (&results{}).count)
	_, err := g.Authorize(t.Context(), "ord_1", eur, token)
	wantErr(t, "refused connection", err, "connection refused")
}

// hang waits until the client has gone, which a server notices after the body.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// A call without a response is resolved by asking the gateway.
func TestGateway_unknown_outcome(t *testing.T) {
	for name, test := range map[string]struct {
		found string // by the question; empty: the gateway fails
		want  Authorization
		err   string
	}{
		"made":        {`{"data":[{"id":"auth_1","status":"captured"}]}`, Authorization{"auth_1", AuthorizationCaptured}, ""},
		"not made":    {`{"data":[]}`, Authorization{}, "capture: no response within"},
		"still held":  {`{"data":[{"id":"auth_1","status":"authorized"}]}`, Authorization{}, "capture: no response within"},
		"can't say":   {``, Authorization{}, "capture: no response within"},
		"was refused": {`{"data":[{"id":"auth_1","status":"voided"}]}`, Authorization{"auth_1", AuthorizationVoided}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, counted := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					hang(r)
				case test.found == "":
					w.WriteHeader(http.StatusServiceUnavailable)
				default:
					fmt.Fprint(w, test.found)
				}
			})
			g.timeout = 200 * time.Millisecond
			a, err := g.Capture(t.Context(), "ord_1", "auth_1")
			if test.err == "" && (err != nil || a != test.want) {
				t.Errorf("got %+v, error %v; want %+v", a, err, test.want)
			}
			if test.err != "" {
				wantErr(t, name, err, test.err)
			}
			if len(counted.list) != 2 || counted.list[0] != "capture unknown" {
				t.Errorf("counted %v", counted.list)
			}
		})
	}
}

// A call that its caller gives up, because the server stops, is no failure of the
// gateway.
func TestGateway_gives_up(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g, _ := newClient(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); hang(r) })
	_, err := g.Void(ctx, "ord_1")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	if c := g.breaker.Counts(); c.TotalFailures != 0 {
		t.Errorf("got %+v", c)
	}
}
