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

func TestUnansweredError(t *testing.T) {
	busy := &response{status: 503, retryAfter: "2"}
	for _, test := range []struct {
		name      string
		responses []*response
		call      func(context.Context, *client.Client) error
		timeout   time.Duration // of the caller's context
		attempts  int
	}{
		{"all_attempts_cut", []*response{nil}, order, time.Hour, 3},
		{"not_repeatable", []*response{nil}, check, time.Hour, 1},
		{"caller_gives_up_after_cut", []*response{nil}, order, 50 * time.Millisecond, 1},
		{"caller_gives_up_after_503", []*response{busy}, order, 50 * time.Millisecond, 1},
		{"caller_gives_up_after_409", []*response{{status: 409, retryAfter: "2"}}, order, 50 * time.Millisecond, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{responses: test.responses}
				c := newClient(t, &client.Options{Base: s, MaxAttempts: 3})
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				err := test.call(ctx, c)
				unanswered, ok := errors.AsType[*client.UnansweredError](err)
				if !ok || len(s.requests) != test.attempts {
					t.Fatalf("%v after %d attempts, want %d", err, len(s.requests), test.attempts)
				}
				if !errors.Is(err, errCut) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("cause of %v is missing", err)
				}
				key := s.requests[0].Header.Get("Idempotency-Key")
				if unanswered.IdempotencyKey != key || !strings.Contains(err.Error(), key) {
					t.Errorf("%v has the key %q, want %q", err, unanswered.IdempotencyKey, key)
				}
			})
		})
	}
}

// TestUnansweredError_notDone is about requests that can't have been carried out.
func TestUnansweredError_notDone(t *testing.T) {
	for name, responses := range map[string][]*response{
		"refused": {{status: 429, retryAfter: "2"}}, "not_sent": {nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, &client.Options{Base: &script{responses: responses}})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if name == "not_sent" {
					cancel()
				}
				err := order(ctx, c)
				if _, ok := errors.AsType[*client.UnansweredError](err); ok || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestUnansweredError_Timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		s.work = func() time.Duration { return time.Hour }
		began := time.Now()
		err := order(t.Context(), s.client(t, client.Options{Timeout: 7 * time.Second, MaxAttempts: 1}))
		unanswered, ok := errors.AsType[*client.UnansweredError](err)
		if !ok || !unanswered.Timeout() || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v looks like the caller's deadline", err)
		}
	})
}

// truncated sends half a response.
type truncated struct{ requests []*http.Request }

func (s *truncated) RoundTrip(r *http.Request) (*http.Response, error) {
	s.requests = append(s.requests, r)
	response := reply(http.StatusCreated, nil, nil)
	response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"id":`), failingReader{}))
	return response, nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errCut }

// TestIdempotencyKey_inErrors is about other errors after which an order may have
// been placed.
func TestIdempotencyKey_inErrors(t *testing.T) {
	t.Run("truncated_response", func(t *testing.T) {
		s := &truncated{}
		err := order(t.Context(), newClient(t, &client.Options{Base: s}))
		unanswered, ok := errors.AsType[*client.UnansweredError](err)
		if !ok || unanswered.IdempotencyKey != s.requests[0].Header.Get("Idempotency-Key") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("500_after_cut", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{responses: []*response{nil, {status: 500}}}
			err := order(t.Context(), newClient(t, &client.Options{Base: s}))
			problem, ok := errors.AsType[*client.Problem](err)
			if !ok || problem.IdempotencyKey != s.requests[0].Header.Get("Idempotency-Key") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("chosen_by_caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{responses: []*response{nil}}
			_, err := newClient(t, &client.Options{Base: s}).CreateOrder(t.Context(), &client.CreateOrderParams{IdempotencyKey: new("mine")}, client.CreateOrderRequest{})
			unanswered, ok := errors.AsType[*client.UnansweredError](err)
			if !ok || unanswered.IdempotencyKey != "mine" || s.requests[4].Header.Get("Idempotency-Key") != "mine" {
				t.Errorf("error %v", err)
			}
		})
	})
}
