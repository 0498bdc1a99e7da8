package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/client"
)

// script answers requests one after the other; nil is no answer.
type script struct {
	answers []func() *http.Response
	got     []*http.Request
	bodies  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v1/me") {
		return reply(http.StatusNotFound, nil, nil), nil
	}
	s.got = append(s.got, r)
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.bodies = append(s.bodies, string(body))
	}
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if response := answer(); response != nil {
		return response, nil
	}
	return nil, errCut
}

var errCut = errors.New("the connection was cut")

func TestWhatIsSentAgain(t *testing.T) {
	limited := func() *http.Response {
		return reply(429, http.Header{"Retry-After": {"3"}}, map[string]any{"retry_after": 2.5, "violated-policies": []string{"p"}})
	}
	never := func() *http.Response { return reply(429, nil, map[string]any{"retry_after": nil}) }
	down := func() *http.Response { return reply(503, http.Header{"Retry-After": {"2"}}, nil) }
	atOnce := func() *http.Response { return reply(429, http.Header{"Retry-After": {"0"}}, nil) }
	placing := func() *http.Response { return reply(409, http.Header{"Retry-After": {"1"}}, nil) }
	conflict := func() *http.Response { return reply(409, nil, nil) }
	far := func() *http.Response { return reply(503, http.Header{"Retry-After": {"3600"}}, nil) }
	ok := func() *http.Response { return reply(200, nil, map[string]any{}) }
	get := func(ctx context.Context, c *client.Client) error { _, err := c.ListProducts(ctx, nil); return err }
	order := func(ctx context.Context, c *client.Client) error {
		_, err := c.CreateOrder(ctx, nil, client.CreateOrder{Email: "a@example.com"})
		return err
	}
	check := func(ctx context.Context, c *client.Client) error {
		_, err := c.CheckLimit(ctx, client.CheckBody{Subject: "s", Plan: "free"})
		return err
	}
	for _, test := range []struct {
		name    string
		answers []func() *http.Response
		call    func(context.Context, *client.Client) error
		tries   int
		took    time.Duration
		status  int // of the problem at the end; 0: none
	}{
		{name: "a refusal, after what the body says", answers: []func() *http.Response{limited, ok}, call: check, tries: 2, took: 2500 * time.Millisecond},
		{name: "what never passes isn't", answers: []func() *http.Response{never, ok}, call: get, tries: 1, status: 429},
		{name: "a refusal more often than there are attempts", answers: []func() *http.Response{limited, limited, limited, limited, ok}, call: check, tries: 5, took: 10 * time.Second},
		{name: "a refusal until the longest wait", answers: []func() *http.Response{limited}, call: get, tries: 49, took: 2 * time.Minute, status: 429},
		{name: "a refusal that says at once", answers: []func() *http.Response{atOnce, ok}, call: get, tries: 2, took: 100 * time.Millisecond},
		{name: "503 as often as there are attempts", answers: []func() *http.Response{down}, call: get, tries: 3, took: 4 * time.Second, status: 503},
		{name: "an order that is being placed", answers: []func() *http.Response{placing, ok}, call: order, tries: 2, took: time.Second},
		{name: "a conflict that stays", answers: []func() *http.Response{conflict, ok}, call: order, tries: 1, status: 409},
		{name: "503 of a read", answers: []func() *http.Response{down, ok}, call: get, tries: 2, took: 2 * time.Second},
		{name: "503 of an order, by its key", answers: []func() *http.Response{down, limited, ok}, call: order, tries: 3, took: 4500 * time.Millisecond},
		{name: "503 of what isn't safe", answers: []func() *http.Response{down, ok}, call: check, tries: 1, status: 503},
		{name: "not after the longest wait", answers: []func() *http.Response{far, ok}, call: get, tries: 1, status: 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: test.answers}
				c, err := client.New("http://api.test", "key", client.WithBase(s), client.WithMaxAttempts(3), client.WithUserAgent("shop/2"))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = test.call(t.Context(), c)
				var problem *client.Problem
				if errors.As(err, &problem) != (test.status != 0) || problem != nil && problem.Status != test.status {
					t.Errorf("error %v; want %d", err, test.status)
				}
				if took := time.Since(began); len(s.got) != test.tries || took != test.took {
					t.Errorf("sent %d times in %v; want %d in %v", len(s.got), took, test.tries, test.took)
				}
				for i, r := range s.got {
					if r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("User-Agent") != "shop/2" {
						t.Errorf("header %v", r.Header)
					}
					key := r.Header.Get("Idempotency-Key")
					if wanted := r.Method == http.MethodPost && r.URL.Path == "/v1/orders"; (key != "") != wanted || key != s.got[0].Header.Get("Idempotency-Key") {
						t.Errorf("try %d of %s has the idempotency key %q", i, r.URL.Path, key)
					}
					if r.Body != nil && s.bodies[i] != s.bodies[0] {
						t.Errorf("try %d has the body %q; the first %q", i, s.bodies[i], s.bodies[0])
					}
				}
			})
		})
	}
}
