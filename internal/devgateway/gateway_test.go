package devgateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/internal/devgateway"
	"ratelimiter/internal/testkit"
	"ratelimiter/internal/testkit/gatewaytest"
)

// fixture is a gateway and what is sent to it.
type fixture struct {
	*testing.T
	*gatewaytest.Gateway
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	return fixture{t, gatewaytest.Start(t, testkit.Database(t), nil)}
}

func authorization(order, token string) string {
	return fmt.Sprintf(`{"order_id":%q,"amount":1999,"currency":"EUR","payment_token":%q}`, order, token)
}

// send sends a POST and returns its status, with the code of a problem.
func (f fixture) send(path, key, body string) string {
	f.Helper()
	r := f.Post(path, body, "Idempotency-Key", key)
	var problem struct{ Code string }
	_ = json.Unmarshal(r.Body, &problem) // "" if it is none
	return strings.TrimSpace(fmt.Sprint(r.Status, " ", problem.Code))
}

// authorize authorizes an order with a key of its own and returns the authorization.
func (f fixture) authorize(order, token string) (a devgateway.Authorization) {
	f.Helper()
	f.Post("/authorizations", authorization(order, token), "Idempotency-Key", "authorize:"+order).Want(http.StatusCreated).JSON(&a)
	return a
}

func (f fixture) find(order string) []devgateway.Authorization {
	f.Helper()
	var found struct {
		Data []devgateway.Authorization `json:"data"`
	}
	f.Get("/authorizations?order_id=" + order).Want(http.StatusOK).JSON(&found)
	return found.Data
}

func (f fixture) wantKinds(order string, want ...string) {
	f.Helper()
	if got := f.Kinds(order); !slices.Equal(got, want) {
		f.Errorf("order %s: got ledger %v; want %v", order, got, want)
	}
}

func TestGateway_tokens(t *testing.T) {
	f := newFixture(t)
	for order, test := range map[string]struct {
		token string
		want  []devgateway.Status // "": it fails
	}{
		"ok":       {"tok_ok", []devgateway.Status{"authorized"}},
		"declined": {"tok_declined", []devgateway.Status{"declined"}},
		"unknown":  {"tok_OK", []devgateway.Status{"declined"}},
		"flaky":    {"tok_flaky", []devgateway.Status{"", "", "authorized"}},
		"down":     {"tok_down", []devgateway.Status{"", "", "", ""}},
	} {
		for n, want := range test.want {
			var a devgateway.Authorization
			r := f.Post("/authorizations", authorization(order, test.token), "Idempotency-Key", order)
			if want == "" {
				r.Want(http.StatusInternalServerError)
				continue
			}
			if r.Want(http.StatusCreated).JSON(&a); a.Status != want || a.OrderID != order || a.Amount != 1999 || a.Currency != "EUR" {
				t.Errorf("%s, call %d: got %+v; want %s", test.token, n+1, a, want)
			}
		}
	}
	f.wantKinds("declined")
	f.wantKinds("flaky", "authorization")
	if got := f.find("down"); len(got) != 0 {
		t.Errorf("got %v; want no authorization of a failed call", got)
	}
	f.Post("/recover", nil).Want(http.StatusOK)
	if a := f.authorize("down", "tok_down"); a.Status != devgateway.StatusAuthorized {
		t.Errorf("after recover: got %+v", a)
	}
	if got := f.send("/authorizations", "later", authorization("later", "tok_down")); got != "500 simulated_failure" {
		t.Errorf("an order after recover: got %s; want it down", got)
	}
}

func TestGateway_payments(t *testing.T) {
	f := newFixture(t)
	capture := func(a devgateway.Authorization) string { return fmt.Sprintf(`{"authorization_id":%q}`, a.ID) }
	charged, held, declined := f.authorize("charged", "tok_ok"), f.authorize("held", "tok_ok"), f.authorize("declined", "tok_declined")
	for _, step := range []struct{ path, key, body, want string }{
		{"/captures", "c1", capture(charged), "201"},
		{"/captures", "c1", capture(charged), "201"}, // the same request
		{"/captures", "c2", capture(charged), "409 already_captured"},
		{"/voids", "v1", `{"order_id":"charged"}`, "409 already_captured"},
		{"/voids", "v1", `{"order_id":"charged"}`, "409 already_captured"},
		{"/voids", "v2", `{"order_id":"held"}`, "201"},
		{"/voids", "v2", `{"order_id":"held"}`, "201"},
		{"/voids", "v3", `{"order_id":"held"}`, "201"},
		{"/captures", "c3", capture(held), "409 not_authorized"},
		{"/captures", "c4", capture(declined), "409 not_authorized"},
		{"/captures", "c5", `{"authorization_id":"auth_none"}`, "404 not_found"},
		{"/authorizations", "a1", authorization("held", "tok_ok"), "409 order_voided"},
		{"/voids", "v4", `{"order_id":"new"}`, "201"},
		{"/authorizations", "a2", authorization("new", "tok_ok"), "409 order_voided"},
		{"/voids", "v5", `{"order_id":"declined"}`, "201"},
	} {
		if got := f.send(step.path, step.key, step.body); got != step.want {
			t.Errorf("POST %s %s, key %s: got %s; want %s", step.path, step.body, step.key, got, step.want)
		}
	}
	f.wantKinds("charged", "authorization", "capture")
	f.wantKinds("held", "authorization", "void")
	f.wantKinds("new")
	f.wantKinds("declined")
	if got := f.find("charged"); len(got) != 1 || got[0].ID != charged.ID || got[0].Status != devgateway.StatusCaptured {
		t.Errorf("got %+v; want %s captured", got, charged.ID)
	}
	lines := f.Ledger()
	ids := map[string]bool{}
	for _, l := range lines {
		at, err := time.Parse(time.RFC3339, l.At)
		if ids[l.ID] || l.ID == "" || l.Amount != 1999 || l.Currency != "EUR" || err != nil || at.IsZero() {
			t.Errorf("got line %+v", l)
		}
		ids[l.ID] = true
	}
	if len(lines) != 4 {
		t.Errorf("got %d lines; want 4", len(lines))
	}
}

func TestGateway_idempotency(t *testing.T) {
	f := newFixture(t)
	var bodies sync.Map
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			r := f.Post("/authorizations", authorization("o", "tok_ok"), "Idempotency-Key", "k").Want(http.StatusCreated)
			bodies.Store(string(r.Body), true)
		})
	}
	calls.Wait()
	different := 0
	bodies.Range(func(any, any) bool { different++; return true })
	if different != 1 || len(f.find("o")) != 1 {
		t.Errorf("got %d responses and %d authorizations; want one", different, len(f.find("o")))
	}
	f.wantKinds("o", "authorization")
	for name, got := range map[string]string{
		"another body":      f.send("/authorizations", "k", authorization("o", "tok_declined")),
		"another operation": f.send("/voids", "k", `{"order_id":"o"}`),
	} {
		if got != "422 idempotency_key_reused" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if r := f.Post("/authorizations", authorization("o", "tok_ok")); r.Status != http.StatusUnprocessableEntity || !strings.Contains(string(r.Body), "Idempotency-Key") {
		t.Errorf("without a key: got %d %s", r.Status, r.Body)
	}
}

// What was answered is remembered by the next process.
func TestGateway_restart(t *testing.T) {
	db := testkit.Database(t)
	first, second := fixture{t, gatewaytest.Start(t, db, nil)}, fixture{t, gatewaytest.Start(t, db, nil)}
	if a, again := first.authorize("o", "tok_ok"), second.authorize("o", "tok_ok"); a != again {
		t.Errorf("got %+v, then %+v", a, again)
	}
	second.wantKinds("o", "authorization")
}

func TestGateway_input(t *testing.T) {
	f := newFixture(t)
	for name, test := range map[string]struct{ body, want string }{
		"every fault":   {`{"order_id":"","amount":-1,"currency":"eur","payment_token":""}`, "422 invalid_input"},
		"unknown field": {`{"order_id":"o","amount":1,"currency":"EUR","payment_token":"tok_ok","x":1}`, "422 invalid_input"},
		"no JSON":       {`{`, "400 malformed_request"},
		"too large":     {`{"order_id":"` + strings.Repeat("x", 70<<10) + `"}`, "413 body_too_large"},
	} {
		if got := f.send("/authorizations", "k", test.body); got != test.want {
			t.Errorf("%s: got %s; want %s", name, got, test.want)
		}
	}
	if got := f.Ledger(); got == nil || len(got) != 0 {
		t.Errorf("got ledger %v; want an empty list", got)
	}
}

func TestGateway_before_start(t *testing.T) {
	f := fixture{t, gatewaytest.Serve(t, devgateway.New(testkit.Database(t)), nil)}
	f.Get("/ledger").Want(http.StatusServiceUnavailable)
}

// The payment with tok_slow is made before the response, which a stop doesn't wait for.
func TestGateway_slow(t *testing.T) {
	gateway := devgateway.New(testkit.Database(t))
	gateway.SetSlowDelay(time.Hour)
	if err := gateway.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := fixture{t, gatewaytest.Serve(t, gateway, nil)}
	ctx, giveUp := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL+"/authorizations", strings.NewReader(authorization("slow", "tok_slow")))
		if err == nil {
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Idempotency-Key", "k")
			var response *http.Response
			if response, err = http.DefaultClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		}
		ended <- err
	}()
	for len(f.find("slow")) == 0 { // the deadline of the test bounds it
		time.Sleep(time.Millisecond)
	}
	f.wantKinds("slow", "authorization")
	giveUp()
	if err := <-ended; err == nil {
		t.Error("the response came at once")
	}

	responded := make(chan int)
	go func() {
		r := f.Post("/captures", fmt.Sprintf(`{"authorization_id":%q}`, f.find("slow")[0].ID), "Idempotency-Key", "k2")
		responded <- r.Status
	}()
	for f.find("slow")[0].Status != devgateway.StatusCaptured {
		time.Sleep(time.Millisecond)
	}
	if err := gateway.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := <-responded; status != http.StatusCreated {
		t.Errorf("got status %d", status)
	}
}
