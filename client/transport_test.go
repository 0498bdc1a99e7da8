package client_test

import (
	"errors"
	"net/http"
	"testing"

	"ratelimiter/client"
)

func TestNew_rejects(t *testing.T) {
	for _, base := range []string{"", "api.test", "ftp://api.test", "http://", ":"} {
		if _, err := client.New(base, "key", nil); err == nil {
			t.Errorf("base URL %q is accepted", base)
		}
	}
	if _, err := client.New("http://api.test", "", nil); err == nil {
		t.Error("an empty key is accepted")
	}
}

func TestTransport_RoundTrip_otherHost(t *testing.T) {
	s := &script{}
	transport, err := client.NewTransport("http://api.test", "key", &client.Options{Base: s})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://other.test/v1/products", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := transport.RoundTrip(r); err == nil || len(s.requests) > 0 {
		response.Body.Close()
		t.Error("the key was sent to another host")
	}
}

func TestProblem(t *testing.T) {
	s := &script{responses: []*response{{status: 422, body: map[string]any{
		"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "There is 1 fault.", "instance": "/v1/orders",
		"request_id": "req_1", "errors": []map[string]any{{"location": "body", "pointer": "/items", "code": "required", "message": "is missing"}},
	}}}}
	err := order(t.Context(), newClient(t, &client.Options{Base: s}))
	problem, ok := errors.AsType[*client.Problem](err)
	if !ok {
		t.Fatal(err)
	}
	want := "422 Unprocessable Content: There is 1 fault. body /items is missing. (req_1)"
	if problem.Error() != want || problem.Errors[0].Code != "required" || problem.Instance != "/v1/orders" {
		t.Errorf("%+v: %v", problem, problem)
	}
}
