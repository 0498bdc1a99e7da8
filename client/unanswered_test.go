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
	"ratelimiter/ratelimit"
)

func cut() *http.Response { return nil }

func orderOf(key *string) func(context.Context, *client.Client) error {
	return func(ctx context.Context, c *client.Client) error {
		_, err := c.CreateOrder(ctx, &client.CreateOrderParams{IdempotencyKey: key}, client.CreateOrder{Email: "a@example.com"})
		return err
	}
}

func TestWhatHadNoAnswerIsSentAgainWhereThatDoesNoHarm(t *testing.T) {
	ok := func() *http.Response { return reply(200, nil, map[string]any{}) }
	get := func(ctx context.Context, c *client.Client) error { return send(ctx, c, 1) }
	check := func(ctx context.Context, c *client.Client) error {
		_, err := c.CheckLimit(ctx, client.CheckBody{Subject: "s", Plan: "free"})
		return err
	}
	for _, test := range []struct {
		name    string
		answers []func() *http.Response
		call    func(context.Context, *client.Client) error
		tries   int
		fails   bool
		keyed   bool
	}{
		{name: "a read", answers: []func() *http.Response{cut, cut, ok}, call: get, tries: 3},
		{name: "an order", answers: []func() *http.Response{cut, cut, ok}, call: orderOf(nil), tries: 3, keyed: true},
		{name: "an order of the caller's key", answers: []func() *http.Response{cut, ok}, call: orderOf(new("mine")), tries: 2, keyed: true},
		{name: "as often as there are attempts", answers: []func() *http.Response{cut}, call: orderOf(nil), tries: 3, fails: true, keyed: true},
		{name: "what isn't safe", answers: []func() *http.Response{cut, ok}, call: check, tries: 1, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: test.answers}
				c, err := client.New("http://api.test", "key", client.WithBase(s), client.WithMaxAttempts(3))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = test.call(t.Context(), c)
				if took := time.Since(began); len(s.got) != test.tries || test.tries > 1 && took < 100*time.Millisecond || took > time.Second {
					t.Errorf("sent %d times in %v; want %d, with a pause between", len(s.got), took, test.tries)
				}
				key := s.got[0].Header.Get("Idempotency-Key")
				if (key != "") != test.keyed {
					t.Errorf("the key is %q", key)
				}
				for i, r := range s.got {
					if r.Header.Get("Idempotency-Key") != key || len(s.bodies) > 0 && s.bodies[i] != s.bodies[0] {
						t.Errorf("try %d is not the first once more", i)
					}
				}
				var silence *client.UnansweredError
				if errors.As(err, &silence) != test.fails || (err != nil) != test.fails {
					t.Fatalf("error %v", err)
				}
				if test.fails && (silence.IdempotencyKey != key || !errors.Is(err, errCut) || !strings.Contains(err.Error(), key)) {
					t.Errorf("%v tells the key %q; want %q", err, silence.IdempotencyKey, key)
				}
			})
		})
	}
}

// broken is an answer whose body breaks off.
type broken struct{ io.Reader }

func (broken) Close() error { return nil }

// TestWhoeverMustGoOnIsToldTheKey is of failures after which an order may have
// been placed.
func TestWhoeverMustGoOnIsToldTheKey(t *testing.T) {
	half := func() *http.Response {
		response := reply(201, nil, nil)
		response.Body = broken{io.MultiReader(strings.NewReader(`{"id":`), failing{})}
		return response
	}
	internal := func() *http.Response { return reply(500, nil, map[string]any{"title": "x"}) }
	busy := func() *http.Response { return reply(503, http.Header{"Retry-After": {"2"}}, nil) }
	for name, answers := range map[string][]func() *http.Response{
		"the server is busy, and the caller gives up": {busy}, "the caller gives up between the tries": {cut}, "the answer breaks off": {half}, "then the server fails": {cut, internal},
		"then it would have to wait too long": {cut, func() *http.Response {
			return reply(429, http.Header{"Retry-After": {"100"}}, nil)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: answers}
				c, err := client.New("http://api.test", "key", client.WithBase(s))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if len(answers) == 1 {
					ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				}
				defer cancel()
				err = orderOf(nil)(ctx, c)
				var silence *client.UnansweredError
				var problem *client.Problem
				var told string
				switch {
				case errors.As(err, &silence):
					told = silence.IdempotencyKey
				case errors.As(err, &problem):
					told = problem.IdempotencyKey
				}
				if want := s.got[0].Header.Get("Idempotency-Key"); told != want || want == "" {
					t.Errorf("%v tells %q; the key is %q", err, told, want)
				}
			})
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// refusing refuses one path as somebody else's spending would.
type refusing struct {
	http.RoundTripper
	refused int
	body    map[string]any
}

func (r *refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path != "/v1/products" {
		return r.RoundTripper.RoundTrip(request)
	}
	r.refused++
	return reply(429, http.Header{"Retry-After": {"5"}}, r.body), nil
}

func TestWhoeverIsToldOfARefusalKeepsAllOthersFromIt(t *testing.T) {
	for name, body := range map[string]map[string]any{
		"a policy that is known": {"violated-policies": []string{"p"}}, "one that isn't": {"violated-policies": []string{"q"}}, "none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := newServer([]ratelimit.Policy{{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s"}}, 0)
				if err != nil {
					t.Fatal(err)
				}
				base := &refusing{RoundTripper: s, body: body}
				c, err := client.New("http://api.test", "key", client.WithBase(base), client.WithMaxAttempts(1), client.WithLongestWait(time.Second))
				if err != nil {
					t.Fatal(err)
				}
				failures := map[int]int{}
				for range 40 {
					err := send(t.Context(), c, 1)
					var problem *client.Problem
					var wait *client.WaitError
					switch {
					case errors.As(err, &problem):
						failures[problem.Status]++
					case errors.As(err, &wait):
						failures[0]++
					}
					time.Sleep(100 * time.Millisecond)
				}
				if base.refused != 1 || failures[429] != 1 || failures[0] != 39 {
					t.Errorf("sent %d times, and told %v; want once, and to wait from then on", base.refused, failures)
				}
			})
		})
	}
}

func TestWhatIsRefusedAtOnceIsNotSentAtOnce(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{answers: []func() *http.Response{func() *http.Response { return reply(status, http.Header{"Retry-After": {"0"}}, nil) }}}
			c, err := client.New("http://api.test", "key", client.WithBase(s), client.WithMaxAttempts(1000))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := c.Livez(ctx); err == nil {
				t.Error("it succeeded")
			}
			if n := len(s.got); n < 2 || n > 21 {
				t.Errorf("%d: sent %d times in 2 s", status, n)
			}
		})
	}
}
