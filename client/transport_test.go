package client_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/client"
	"ratelimiter/ratelimit"
)

// bubble runs do with a client of a server with these policies, where time
// passes only when everybody waits.
func bubble(t *testing.T, policies []ratelimit.Policy, do func(t *testing.T, s *server, c *client.Client), options ...client.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := newServer(policies, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New("http://api.test", "key", append([]client.Option{client.WithBase(s)}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, c)
		if s.refused > 0 {
			t.Errorf("%d were refused", s.refused)
		}
	})
}

var onceASecond = ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s", Burst: 10}

func TestThoseWhoWaitAreServedInTheOrderOfTheirArrival(t *testing.T) {
	reads := ratelimit.Policy{Name: "reads", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s", Group: "products:read"}
	writes := ratelimit.Policy{Name: "writes", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h", Group: "orders:write"}
	for _, test := range []struct {
		name     string
		policies []ratelimit.Policy
		costs    []int
		want     []int
	}{
		{name: "equals", policies: []ratelimit.Policy{reads}, costs: []int{1, 1, 1, 1, 1}, want: []int{0, 1, 2, 3, 4}},
		{name: "an order isn't starved by reads", policies: []ratelimit.Policy{onceASecond}, costs: []int{5, 5, 5, 1, 1, 5, 1}, want: []int{0, 1, 2, 3, 4, 5, 6}},
		{name: "reads overtake where they share no policy", policies: []ratelimit.Policy{reads, writes}, costs: []int{5, 5, 1, 1, 1}, want: []int{0, 2, 3, 4, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, test.policies, func(t *testing.T, _ *server, c *client.Client) {
				done := make(chan int, len(test.costs))
				for i, cost := range test.costs {
					go func() {
						if err := send(t.Context(), c, cost); err != nil {
							t.Error(err)
						}
						done <- i
					}()
					synctest.Wait()
				}
				var order []int
				for range test.costs {
					order = append(order, <-done)
					synctest.Wait()
				}
				if !slices.Equal(order, test.want) {
					t.Errorf("served in the order %v; want %v", order, test.want)
				}
			}, client.WithLongestWait(2*time.Hour))
		})
	}
}

func TestAWaitThatWouldBeTooLongFailsAtOnceAndSaysWhenToComeBack(t *testing.T) {
	hourly := ratelimit.Policy{Name: "hourly", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h"}
	bubble(t, []ratelimit.Policy{hourly}, func(t *testing.T, s *server, c *client.Client) {
		if err := send(t.Context(), c, 5); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := send(t.Context(), c, 1)
		var wait *client.WaitError
		if !errors.As(err, &wait) || !slices.Equal(wait.Policies, []string{"hourly"}) || time.Since(began) > time.Second {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		if wait.RetryAfter < time.Hour-time.Minute || wait.RetryAfter > time.Hour+time.Second {
			t.Errorf("to come back in %v; the window ends in an hour", wait.RetryAfter)
		}
		time.Sleep(wait.RetryAfter)
		if err := send(t.Context(), c, 1); err != nil {
			t.Error(err)
		}
		if s.admitted != 2 {
			t.Errorf("%d were admitted", s.admitted)
		}
	}, client.WithLongestWait(time.Minute))
}

func TestNoMoreWaitThanTheQueueHolds(t *testing.T) {
	bubble(t, []ratelimit.Policy{{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1s"}}, func(t *testing.T, _ *server, c *client.Client) {
		results := make(chan error, 4)
		for range 4 { // one goes, two wait
			go func() { results <- send(t.Context(), c, 1) }()
			synctest.Wait()
		}
		var wait *client.WaitError
		if err := <-results; err != nil {
			t.Errorf("the first: %v", err)
		}
		if err := <-results; !errors.As(err, &wait) {
			t.Errorf("the fourth: %v", err)
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	}, client.WithLongestQueue(2))
}

func TestWhoGivesUpFreesItsPlace(t *testing.T) {
	bubble(t, []ratelimit.Policy{onceASecond}, func(t *testing.T, s *server, c *client.Client) {
		for range 2 {
			if err := send(t.Context(), c, 5); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		given, next := make(chan error), make(chan error)
		go func() { given <- send(ctx, c, 5) }()
		synctest.Wait()
		began := time.Now()
		go func() { next <- send(t.Context(), c, 1) }()
		synctest.Wait()
		cancel()
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who gave up got %v", err)
		}
		if err := <-next; err != nil || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("the next got %v after %v; its unit is there after a second", err, time.Since(began))
		}
		if s.admitted != 3 {
			t.Errorf("%d were admitted", s.admitted)
		}
	})
}

func TestARaisedQuotaIsNoticedByThoseWhoWait(t *testing.T) {
	daily := ratelimit.Policy{Name: "daily", Algorithm: ratelimit.Calendar, Limit: 5, Period: "day"}
	bubble(t, []ratelimit.Policy{daily}, func(t *testing.T, s *server, c *client.Client) {
		if err := send(t.Context(), c, 5); err != nil {
			t.Fatal(err)
		}
		waits := make(chan error)
		go func() { waits <- send(t.Context(), c, 1) }()
		synctest.Wait()
		hourly := ratelimit.Policy{Name: "hourly", Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "1h"}
		if err := s.set(hourly); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := <-waits; err != nil || time.Since(began) > 15*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}, client.WithLongestWait(48*time.Hour))
}

func TestALoweredQuotaIsNoticedByTheNextAnswer(t *testing.T) {
	wide := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: "1s"}
	bubble(t, []ratelimit.Policy{wide}, func(t *testing.T, s *server, c *client.Client) {
		if err := send(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		slots := ratelimit.Policy{Name: "slots", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "10s"}
		if err := s.set(wide, slots); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 5 {
			if err := send(t.Context(), c, 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 10*time.Second || took > 21*time.Second {
			t.Errorf("took %v; want two windows", took)
		}
	})
}

func TestAnAnswerThatDoesNotComeIsGivenUp(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *server, c *client.Client) {
		s.work = func() time.Duration { return time.Hour }
		began := time.Now()
		var silence *client.UnansweredError
		if err := send(t.Context(), c, 1); !errors.As(err, &silence) || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	}, client.WithTimeout(7*time.Second), client.WithMaxAttempts(1))
}

func TestTheKeyIsForOneHostOnly(t *testing.T) {
	s := &script{}
	transport, err := client.NewTransport("http://api.test", "key", client.WithBase(s))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://other.test/v1/products", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := transport.RoundTrip(r); err == nil || len(s.got) > 0 {
		response.Body.Close()
		t.Error("the key was sent to another host")
	}
	for _, base := range []string{"", "api.test", "ftp://api.test", "http://", ":"} {
		if _, err := client.New(base, "key"); err == nil {
			t.Errorf("the base URL %q is accepted", base)
		}
	}
	if _, err := client.New("http://api.test", ""); err == nil {
		t.Error("no key is accepted")
	}
}

func TestAProblemSaysAllThatTheAPISays(t *testing.T) {
	s := &script{answers: []func() *http.Response{func() *http.Response {
		return reply(422, http.Header{"X-Request-Id": {"req_1"}}, map[string]any{
			"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "There is 1 fault.", "instance": "/v1/orders",
			"request_id": "req_1", "errors": []map[string]any{{"location": "body", "pointer": "/items", "code": "required", "message": "is missing"}},
		})
	}}}
	c, err := client.New("http://api.test", "key", client.WithBase(s))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateOrder(t.Context(), nil, client.CreateOrder{})
	var problem *client.Problem
	if !errors.As(err, &problem) {
		t.Fatal(err)
	}
	want := "422 Unprocessable Content: There is 1 fault. body /items is missing. (req_1)"
	if problem.Error() != want || problem.Errors[0].Code != "required" || problem.Instance != "/v1/orders" {
		t.Errorf("%+v: %v", problem, problem)
	}
}
