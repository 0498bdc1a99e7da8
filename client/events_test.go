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

// roundTrip is a RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A server that doesn't wait isn't asked again at once.
func TestClient_Events_empty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := newClient(t, &client.Options{Base: roundTrip(func(r *http.Request) (*http.Response, error) {
			requests++
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
				Body: io.NopCloser(strings.NewReader(`{"data":[],"next_cursor":"x"}`)),
			}, nil
		})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for event, err := range c.Events(ctx, "", "") {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %+v, %v; want the context's error", event, err)
			}
		}
		if requests < 2 || requests > 61 {
			t.Errorf("%d requests within a minute; want one per second", requests)
		}
	})
}
