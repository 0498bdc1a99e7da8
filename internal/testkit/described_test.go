package testkit_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
)

// failureRecorder records failures instead of failing the test.
type failureRecorder struct {
	testing.TB
	failures []string
}

func (r *failureRecorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}
func (r *failureRecorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic("fatal")
}
func (r *failureRecorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func TestClient_checks_the_description(t *testing.T) {
	recorder := &failureRecorder{TB: t}
	client := testkit.Serve(recorder, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "hello")
	}))
	for _, path := range []string{"/v1/products", "/v1/me", "/livez", "/nowhere"} {
		before := len(recorder.failures)
		client.Get(path)
		if len(recorder.failures) != before+1 || !strings.Contains(recorder.failures[before], "not as described") {
			t.Errorf("%s: got failures %q; want one", path, recorder.failures[before:])
		}
	}
	before := len(recorder.failures)
	client.Do(http.MethodHead, "/v1/products", nil)
	if len(recorder.failures) != before+1 {
		t.Errorf("HEAD: got failures %q; want one", recorder.failures[before:])
	}

	before = len(recorder.failures)
	client.Undescribed("not the API").Get("/v1/products")
	client.Do(http.MethodOptions, "/v1/products", nil)
	for _, path := range []string{"/", "/docs", "/redoc", "/redoc/redoc.standalone.js", "/swagger/index.css", "/guide", "/guide/limits", "/demo/orders", "/openapi.json"} {
		client.Get(path)
	}
	if len(recorder.failures) != before {
		t.Errorf("undescribed: got failures %q; want none", recorder.failures[before:])
	}
	defer func() {
		if recover() == nil {
			t.Error("Undescribed without a reason: want a failure")
		}
	}()
	client.Undescribed("")
}
