package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/client"
)

// script gives responses one after the other, the last one again and again. nil
// is a cut connection.
type script struct {
	responses []*response
	requests  []*http.Request
	bodies    []string
	times     []time.Time
}

// response is a response of a script.
type response struct {
	status     int
	retryAfter string // "" for no such field
	body       any
}

var errCut = errors.New("connection cut")

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests, s.times = append(s.requests, r), append(s.times, time.Now())
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.bodies = append(s.bodies, string(body))
	}
	next := s.responses[0]
	if len(s.responses) > 1 {
		s.responses = s.responses[1:]
	}
	if next == nil {
		return nil, errCut
	}
	header := http.Header{}
	if next.retryAfter != "" {
		header.Set("Retry-After", next.retryAfter)
	}
	return reply(next.status, header, next.body), nil
}

// delays returns the times between attempts.
func (s *script) delays() []time.Duration {
	var delays []time.Duration
	for i := 1; i < len(s.times); i++ {
		delays = append(delays, s.times[i].Sub(s.times[i-1]))
	}
	return delays
}

// The requests of the tests below: one that is safe, one that has an
// Idempotency-Key, and one that isn't repeatable.
func get(ctx context.Context, c *client.Client) error { return send(ctx, c, 1) }

func order(ctx context.Context, c *client.Client) error {
	_, err := c.CreateOrder(ctx, nil, client.CreateOrderRequest{Email: "a@example.com"})
	return err
}

func check(ctx context.Context, c *client.Client) error {
	_, err := c.CheckLimit(ctx, client.CheckLimitRequest{Subject: "s", Plan: "free"})
	return err
}

func TestClient_Retries(t *testing.T) {
	ok := &response{status: 200, body: map[string]any{}}
	refused := &response{status: 429, retryAfter: "3", body: map[string]any{"violated-policies": []string{"p"}, "retry_after": 2.5}}
	unexplained := &response{status: 429}
	impossible := &response{status: 429, body: map[string]any{"violated-policies": []string{"p"}, "retry_after": nil}}
	busy := &response{status: 503, retryAfter: "2"}
	down := &response{status: 503}
	for _, test := range []struct {
		name      string
		responses []*response
		call      func(context.Context, *client.Client) error
		want      []time.Duration // least delays between attempts; up to a tenth and half a second are added
		status    int             // of the problem in the end; 0: success
	}{
		{"429/repeatable_or_not", []*response{refused, ok}, check, []time.Duration{3 * time.Second}, 0},
		{"429/beyond_MaxAttempts", []*response{refused, refused, refused, refused, ok}, check, slices.Repeat([]time.Duration{3 * time.Second}, 4), 0},
		{"429/without_Retry-After", []*response{unexplained, unexplained, unexplained, ok}, get, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, 0},
		{"429/never_passes", []*response{impossible, ok}, get, nil, 429},
		{"429/after_zero_seconds", []*response{{status: 429, retryAfter: "0"}, ok}, get, []time.Duration{100 * time.Millisecond}, 0},
		{"429/after_MaxWait", []*response{{status: 429, retryAfter: "3600"}, ok}, get, nil, 429},
		{"503/safe", []*response{busy, ok}, get, []time.Duration{2 * time.Second}, 0},
		{"503/with_Idempotency-Key", []*response{busy, refused, ok}, order, []time.Duration{2 * time.Second, 3 * time.Second}, 0},
		{"503/not_repeatable", []*response{busy, ok}, check, nil, 503},
		{"503/up_to_MaxAttempts", []*response{busy}, get, []time.Duration{2 * time.Second, 2 * time.Second}, 503},
		{"503/without_Retry-After", []*response{down, down, ok}, get, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond}, 0},
		{"503/after_a_date", []*response{{status: 503, retryAfter: "Sat, 01 Jan 2000 00:00:05 GMT"}, ok}, get, []time.Duration{5 * time.Second}, 0},
		{"409/order_in_progress", []*response{{status: 409, retryAfter: "1"}, ok}, order, []time.Duration{time.Second}, 0},
		{"409/conflict", []*response{{status: 409}, ok}, order, nil, 409},
		{"500/never", []*response{{status: 500}, ok}, get, nil, 500},
		{"cut/safe", []*response{nil, nil, ok}, get, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond}, 0},
		{"cut/with_Idempotency-Key", []*response{nil, ok}, order, []time.Duration{100 * time.Millisecond}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it starts at midnight UTC, 2000-01-01
				s := &script{responses: test.responses}
				c := newClient(t, &client.Options{Base: s, MaxAttempts: 3, UserAgent: "shop/2"})
				err := test.call(t.Context(), c)
				problem, _ := errors.AsType[*client.Problem](err)
				if (err != nil) != (test.status != 0) || problem != nil && problem.Status != test.status {
					t.Errorf("error %v, want %d", err, test.status)
				}
				if got := s.delays(); !slices.EqualFunc(got, test.want, func(got, want time.Duration) bool {
					return got >= want && got <= want+want/10+500*time.Millisecond
				}) {
					t.Errorf("delays %v, want %v", got, test.want)
				}
				s.checkAttempts(t)
			})
		})
	}
}

// checkAttempts checks that all attempts are the same request.
func (s *script) checkAttempts(t *testing.T) {
	t.Helper()
	first := s.requests[0]
	for i, r := range s.requests {
		if r.Header.Get("Authorization") != "Bearer key" || r.Header.Get("User-Agent") != "shop/2" {
			t.Errorf("attempt %d has the header %v", i, r.Header)
		}
		key := r.Header.Get("Idempotency-Key")
		if isOrder := r.URL.Path == "/v1/orders"; (key != "") != isOrder || key != first.Header.Get("Idempotency-Key") {
			t.Errorf("attempt %d has the Idempotency-Key %q", i, key)
		}
	}
	if len(s.bodies) > 0 && (len(s.bodies) != len(s.requests) || len(slices.Compact(slices.Clone(s.bodies))) != 1) {
		t.Errorf("bodies %q", s.bodies)
	}
}

// TestClient_Retries_refusalHoldsOthers is about a refusal of one request:
// others don't try in vain until Retry-After.
func TestClient_Retries_refusalHoldsOthers(t *testing.T) {
	for name, refusal := range map[string]*response{
		"by_the_quota": {status: 429, retryAfter: "5", body: map[string]any{"violated-policies": []string{"p"}}},
		"by_a_proxy":   {status: 429, retryAfter: "5"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{responses: []*response{refusal}}
				c := newClient(t, &client.Options{Base: s, MaxWait: time.Second})
				var problems, waits int
				for range 40 {
					err := get(t.Context(), c)
					if _, ok := errors.AsType[*client.Problem](err); ok {
						problems++
					}
					if _, ok := errors.AsType[*client.WaitError](err); ok {
						waits++
					}
					time.Sleep(100 * time.Millisecond)
				}
				if problems != 1 || waits != 39 {
					t.Errorf("%d sent, %d not sent in 4 s", problems, waits)
				}
			})
		})
	}
}

// TestClient_Retries_contextEnds is about a context that ends during a delay.
func TestClient_Retries_contextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{responses: []*response{{status: 503, retryAfter: "60"}}}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		began := time.Now()
		if err := get(ctx, newClient(t, &client.Options{Base: s})); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestClient_Retries_jitter is about clients that are refused at the same time.
func TestClient_Retries_jitter(t *testing.T) {
	for _, after := range []string{"", "2"} {
		synctest.Test(t, func(t *testing.T) {
			var delays []time.Duration
			for range 3 {
				s := &script{responses: []*response{{status: 429, retryAfter: after}, {status: 200, body: map[string]any{}}}}
				if err := get(t.Context(), newClient(t, &client.Options{Base: s})); err != nil {
					t.Fatal(err)
				}
				delays = append(delays, s.delays()...)
			}
			if delays[0] == delays[1] && delays[1] == delays[2] {
				t.Errorf("Retry-After %q: all delays are %v", after, delays[0])
			}
		})
	}
}
