package workers

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// transport is an http.RoundTripper without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// stub is a gateway that fails or works.
type stub struct {
	*Gateway
	fails bool
	calls int
}

func newStub() *stub {
	s := &stub{Gateway: NewGateway(func() string { return "http://gateway" }, slog.New(slog.DiscardHandler), func(string, string) {})}
	s.client.Transport = transport(func(*http.Request) (*http.Response, error) {
		s.calls++
		response := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"data":[]}`))}
		if s.fails {
			response.StatusCode = http.StatusInternalServerError
		}
		return response, nil
	})
	return s
}

// ask makes n calls that fail or work, and reports whether the last one was made.
func (s *stub) ask(t *testing.T, n int, fails bool) (made bool) {
	t.Helper()
	s.fails = fails
	for range n {
		before := s.calls
		_, err := s.Find(t.Context(), "ord_1")
		made = s.calls > before
		if err == nil || made && fails && !strings.Contains(err.Error(), "500") || !made && !strings.Contains(err.Error(), "suspended") {
			t.Fatalf("got error %v", err)
		}
	}
	return made
}

func TestBreaker(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *stub){
		"needs 20 calls": func(t *testing.T, s *stub) {
			if !s.ask(t, 20, true) || s.ask(t, 1, true) {
				t.Error("want it open after the 20th failure")
			}
		},
		"needs more than half": func(t *testing.T, s *stub) {
			s.ask(t, 10, false)
			if !s.ask(t, 10, true) || !s.ask(t, 1, true) || s.ask(t, 1, true) {
				t.Error("want it open after the 11th failure of 21 calls")
			}
		},
		"forgets after 10 s": func(t *testing.T, s *stub) {
			s.ask(t, 19, true)
			time.Sleep(breakerInterval + breakerBucket)
			if !s.ask(t, 19, true) || s.ask(t, 1, true) != true {
				t.Error("want it closed: 20 failures in 20 s")
			}
		},
		"closes after a success": func(t *testing.T, s *stub) {
			s.ask(t, 20, true)
			time.Sleep(breakerPause)
			if s.ask(t, 1, false) {
				t.Error("a call was made at the end of the pause")
			}
			time.Sleep(time.Millisecond)
			if s.BreakerState() != int(gobreaker.StateHalfOpen) || !s.ask(t, 1, false) || s.BreakerState() != int(gobreaker.StateClosed) || !s.ask(t, 1, true) {
				t.Error("want it closed after a success")
			}
		},
		"opens again": func(t *testing.T, s *stub) {
			s.ask(t, 20, true)
			time.Sleep(breakerPause + time.Millisecond)
			if !s.ask(t, 1, true) || s.ask(t, 1, false) {
				t.Error("want it open after a failed trial")
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { run(t, newStub()) }) })
	}
}

// While a trial runs, other calls are rejected.
func TestBreaker_one_trial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStub()
		s.ask(t, 20, true)
		time.Sleep(breakerPause + time.Millisecond)
		s.client.Transport = transport(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
		trial := make(chan error)
		go func() { _, err := s.Find(t.Context(), "ord_1"); trial <- err }()
		synctest.Wait()
		if _, err := s.Find(t.Context(), "ord_1"); err == nil || !strings.Contains(err.Error(), "suspended") {
			t.Errorf("got error %v", err)
		}
		start := time.Now()
		err := <-trial
		if !strings.Contains(err.Error(), "no response within 1s") || time.Since(start) != gatewayTimeout {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		if s.BreakerState() != int(gobreaker.StateOpen) {
			t.Error("want it open after a trial without a response")
		}
	})
}

// A rejected call doesn't count as an attempt of its message.
func TestPostponed(t *testing.T) {
	for _, cause := range []error{gobreaker.ErrOpenState, gobreaker.ErrTooManyRequests} {
		if err := postponed(cause); errors.Is(err, cause) || !strings.Contains(err.Error(), "suspended") {
			t.Errorf("got %v", err)
		}
	}
}
