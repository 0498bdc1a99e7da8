package testkit_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
)

// listener hears what a test is told to fail for.
type listener struct {
	testing.TB
	heard []string
}

func (l *listener) Errorf(format string, args ...any) {
	l.heard = append(l.heard, fmt.Sprintf(format, args...))
}
func (l *listener) Fatalf(format string, args ...any) { l.Errorf(format, args...); panic("fatal") }
func (l *listener) Fatal(args ...any)                 { l.Fatalf("%s", fmt.Sprint(args...)) }

// A server that isn't the API at all: its every answer is a fault, unless the
// test says why it doesn't count.
func TestTheClientFailsTheTestForWhatIsNotDescribed(t *testing.T) {
	hears := &listener{TB: t}
	client := testkit.Serve(hears, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "hello")
	}))
	for _, path := range []string{"/v1/products", "/v1/me", "/livez", "/nowhere"} {
		before := len(hears.heard)
		client.Get(path)
		if len(hears.heard) != before+1 || !strings.Contains(hears.heard[before], "not as described") {
			t.Errorf("%s: heard %q", path, hears.heard[before:])
		}
	}
	before := len(hears.heard)
	client.Do(http.MethodHead, "/v1/products", nil)
	if len(hears.heard) != before+1 {
		t.Errorf("HEAD: heard %q", hears.heard[before:])
	}

	before = len(hears.heard)
	client.Undescribed("this server is none of ours").Get("/v1/products")
	client.Do(http.MethodOptions, "/v1/products", nil)
	for _, path := range []string{"/", "/docs", "/redoc", "/redoc/redoc.standalone.js", "/swagger/index.css", "/openapi.json"} {
		client.Get(path)
	}
	if len(hears.heard) != before {
		t.Errorf("heard %q", hears.heard[before:])
	}
	defer func() {
		if recover() == nil {
			t.Error("no reason was asked for")
		}
	}()
	client.Undescribed("")
}
