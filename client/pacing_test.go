package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ratelimiter/client"
	"ratelimiter/ratelimit"
)

// forever is a MaxWait that no test reaches.
const forever = 1000 * time.Hour

// sendAll sends requests of these costs from several goroutines, and returns
// the errors.
func sendAll(ctx context.Context, c *client.Client, workers, each int, costs ...int) []error {
	errs := make(chan error, workers*each)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				errs <- send(ctx, c, costs[i%len(costs)])
			}
		})
	}
	all.Wait()
	close(errs)
	var failures []error
	for err := range errs {
		if err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}

// TestClient_Pacing sends more than the quota allows over a network with random
// delays. The whole, over a real server, is measured by the tests of the server.
func TestClient_Pacing(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy ratelimit.Policy
		costs  []int
	}{
		{"token_bucket", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20}, []int{1, 5}},
		{"token_bucket_slow", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "20s"}, []int{1, 5}},
		{"leaky_bucket", ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "1s"}, []int{1}},
		{"fixed_window", ratelimit.Policy{Algorithm: ratelimit.FixedWindow, Limit: 100, Period: "10s"}, []int{1, 5}},
		{"sliding_window", ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 100, Period: "10s"}, []int{1, 5}},
		{"sliding_log", ratelimit.Policy{Algorithm: ratelimit.SlidingLog, Limit: 100, Period: "10s"}, []int{1, 5}},
		{"calendar", ratelimit.Policy{Algorithm: ratelimit.Calendar, Limit: 200, Period: "day"}, []int{1, 5}},
		{"concurrency", ratelimit.Policy{Algorithm: ratelimit.Concurrency, Limit: 2}, []int{1, 5}},
	} {
		for _, nextUnit := range []bool{false, true} {
			name := test.name + "/t_until_full"
			if nextUnit {
				name = test.name + "/t_until_next_unit"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					test.policy.Name = "p"
					s := newFakeServer(t, test.policy)
					s.nextUnit = nextUnit
					s.delay, s.work = randomUpTo(7, 20*time.Millisecond), randomUpTo(8, 50*time.Millisecond)
					c := s.client(t, client.Options{MaxWait: forever})
					began := time.Now()
					if errs := sendAll(t.Context(), c, 4, 100, test.costs...); len(errs) > 0 {
						t.Errorf("%d errors, such as %v", len(errs), errs[0])
					}
					share := float64(s.refused) / float64(s.refused+len(s.admitted))
					t.Logf("%d admitted, %d refused (%.1f %%) in %v", len(s.admitted), s.refused, 100*share, time.Since(began))
					if share > 0.05 {
						t.Errorf("%.1f %% refused, want at most 5 %%", 100*share)
					}
				})
			})
		}
	}
}

// TestClient_Pacing_completes is about any policies, delays and outcomes: every
// request is answered in the end.
func TestClient_Pacing_completes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var policies []ratelimit.Policy
		for i := range rapid.IntRange(1, 3).Draw(rt, "policies") {
			policies = append(policies, anyPolicy(rt, fmt.Sprintf("p%d", i)))
		}
		workers, each := rapid.IntRange(1, 8).Draw(rt, "workers"), rapid.IntRange(1, 20).Draw(rt, "each")
		costs := rapid.SliceOfN(rapid.SampledFrom([]int{1, 5}), 1, 4).Draw(rt, "costs")
		delay := time.Duration(rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(rt, "delay"))
		failures, seed := rapid.Bool().Draw(rt, "failures"), rapid.Uint64().Draw(rt, "seed")
		nextUnit := rapid.Bool().Draw(rt, "nextUnit")
		var s *fakeServer
		var errs []error
		synctest.Test(t, func(t *testing.T) {
			s = newFakeServer(t, policies...)
			s.delay, s.work, s.nextUnit = randomUpTo(seed, delay), randomUpTo(seed+1, delay), nextUnit
			if failures {
				pick := randomUpTo(seed+2, 3)
				s.status = func() int { return []int{200, 200, 404, 500}[pick()] }
			}
			errs = sendAll(t.Context(), s.client(t, client.Options{MaxWait: forever}), workers, each, costs...)
		})
		for _, err := range errs {
			problem, ok := errors.AsType[*client.Problem](err)
			if !failures || !ok || problem.Status == http.StatusTooManyRequests {
				rt.Fatal(err)
			}
		}
		if len(s.admitted) != workers*each {
			rt.Fatalf("%d admitted, want %d", len(s.admitted), workers*each)
		}
	})
}

// anyPolicy draws a policy whose capacity is that of an order or more.
func anyPolicy(t *rapid.T, name string) ratelimit.Policy {
	p := ratelimit.Policy{
		Name: name, Limit: rapid.Int64Range(5, 60).Draw(t, "limit"),
		Algorithm: rapid.SampledFrom([]ratelimit.Algorithm{
			ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog,
			ratelimit.Calendar, ratelimit.Concurrency,
		}).Draw(t, "algorithm"),
	}
	if rapid.Bool().Draw(t, "grouped") {
		p.Group = "orders:write"
	}
	switch p.Algorithm {
	case ratelimit.Calendar:
		p.Period = ratelimit.Day
	case ratelimit.Concurrency:
		p.Limit = rapid.Int64Range(1, 4).Draw(t, "slots")
	default:
		p.Period = ratelimit.Every(time.Duration(rapid.IntRange(50, 30_000).Draw(t, "period")) * time.Millisecond)
	}
	return p
}

// TestClient_Pacing_sharedKey is about clients of one key that know of each
// other only by responses. Each gets a quarter of an equal share, or more.
func TestClient_Pacing_sharedKey(t *testing.T) {
	for _, clients := range []int{2, 3, 6} {
		t.Run(strconv.Itoa(clients), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeServer(t,
					ratelimit.Policy{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
					ratelimit.Policy{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 300, Period: "1m"},
				)
				s.delay, s.nextUnit = randomUpTo(7, 10*time.Millisecond), true
				answers := make([]atomic.Int64, clients)
				began := time.Now()
				var all sync.WaitGroup
				for i := range clients {
					c := s.client(t, client.Options{})
					for range 8 {
						all.Go(func() {
							for time.Since(began) < 3*time.Minute {
								if err := send(t.Context(), c, 1); err != nil {
									t.Errorf("after %v: %v", time.Since(began), err)
									return
								}
								answers[i].Add(1)
							}
						})
					}
				}
				all.Wait()
				var shares []int
				for i := range answers {
					shares = append(shares, int(answers[i].Load()))
				}
				t.Logf("%v answers; %d of %d requests refused", shares, s.refused, s.refused+len(s.admitted))
				if least := slices.Min(shares); least*clients*4 < len(s.admitted) {
					t.Errorf("one client has %d of %d answers", least, len(s.admitted))
				}
			})
		})
	}
}

func TestClient_Pacing_order(t *testing.T) {
	shared := ratelimit.Policy{Name: "p", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "2s", Burst: 10}
	writes := ratelimit.Policy{Name: "writes", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h", Group: "orders:write"}
	const read, write = "GET /v1/products", "POST /v1/orders"
	for _, test := range []struct {
		name     string
		policies []ratelimit.Policy
		costs    []int
		want     []string
	}{
		{"waiting_order_blocks_reads", []ratelimit.Policy{shared}, []int{5, 5, 5, 1, 1}, []string{write, write, write, read, read}},
		{"reads_overtake_under_other_policies", []ratelimit.Policy{writes}, []int{5, 5, 1, 1}, []string{write, read, read, write}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeServer(t, test.policies...)
				s.nextUnit = true
				c := s.client(t, client.Options{MaxWait: forever})
				if err := send(t.Context(), c, 1); err != nil { // the client learns the policies of reads
					t.Fatal(err)
				}
				var all sync.WaitGroup
				for _, cost := range test.costs {
					all.Go(func() {
						if err := send(t.Context(), c, cost); err != nil {
							t.Error(err)
						}
					})
					time.Sleep(time.Millisecond)
				}
				all.Wait()
				if got := s.admitted[1:]; !slices.Equal(got, test.want) {
					t.Errorf("served %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestClient_Pacing_concurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 3})
		c := s.client(t, client.Options{MaxWait: forever, Timeout: time.Hour})
		if err := send(t.Context(), c, 1); err != nil { // its response reports the policy
			t.Fatal(err)
		}
		s.work = randomUpTo(7, time.Minute)
		began := time.Now()
		if errs := sendAll(t.Context(), c, 8, 50, 1); len(errs) > 0 {
			t.Error(errs)
		}
		// 400 requests of half a minute, three at a time, take 67 minutes.
		if took := time.Since(began); s.most != 3 || s.refused > 0 || took > 80*time.Minute {
			t.Errorf("%d at once, %d refused, in %v", s.most, s.refused, took)
		}
	})
}

// TestClient_Pacing_slotUntilBodyClosed is about a body that isn't closed: its
// request holds its slot.
func TestClient_Pacing_slotUntilBodyClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.Concurrency, Limit: 1})
		c := s.client(t, client.Options{Timeout: time.Minute})
		if err := send(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		response, err := c.Raw.ListProducts(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(10*time.Second, func() { response.Body.Close() })
		if err := send(t.Context(), c, 1); err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("sent after %v, %v", time.Since(began), err)
		}
		began = time.Now()
		response, err = c.Raw.ListProducts(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(t.Context(), c, 1); err != nil || time.Since(began) != time.Minute {
			t.Errorf("sent after %v, %v", time.Since(began), err)
		}
		response.Body.Close()
	})
}

func TestClient_Pacing_waitTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, ratelimit.Policy{Name: "hourly", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h"})
		c := s.client(t, client.Options{MaxWait: time.Minute})
		if err := send(t.Context(), c, 1); err != nil {
			t.Fatal(err)
		}
		if errs := sendAll(t.Context(), c, 4, 1, 1); len(errs) > 0 {
			t.Fatal(errs)
		}
		began := time.Now()
		err := send(t.Context(), c, 1)
		wait, ok := errors.AsType[*client.WaitError](err)
		if !ok || !slices.Equal(wait.Policies, []string{"hourly"}) || time.Since(began) != 0 {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(wait.RetryAfter)
		if err := send(t.Context(), c, 1); err != nil {
			t.Error(err)
		}
		if s.refused > 0 {
			t.Errorf("%d refused", s.refused)
		}
	})
}

func TestClient_Pacing_contextEnds(t *testing.T) {
	for name, ahead := range map[string]int{"first": 0, "in_line": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeServer(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h"})
				c := s.client(t, client.Options{MaxWait: forever})
				if errs := sendAll(t.Context(), c, 1, 5, 1); len(errs) > 0 {
					t.Fatal(errs)
				}
				var all sync.WaitGroup
				for range ahead {
					all.Go(func() {
						if err := send(t.Context(), c, 1); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				time.AfterFunc(time.Minute, cancel)
				if err := send(ctx, c, 1); !errors.Is(err, context.Canceled) || time.Since(began) != time.Minute {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if err := send(t.Context(), c, 1); err != nil { // no place is left to it
					t.Error(err)
				}
				all.Wait()
				if want := 6 + ahead; len(s.admitted) != want || s.refused > 0 {
					t.Errorf("%d admitted, want %d; %d refused", len(s.admitted), want, s.refused)
				}
			})
		})
	}
}

// TestClient_Pacing_resets is about the time at which a request that waits is
// sent.
func TestClient_Pacing_resets(t *testing.T) {
	for _, test := range []struct {
		name     string
		policy   ratelimit.Policy
		nextUnit bool
		want     time.Duration // after ten units were spent at once
	}{
		{"window_returns_all_units", ratelimit.Policy{Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1m"}, true, time.Minute},
		{"bucket_returns_one_by_one", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1m"}, true, 30 * time.Second},
		{"bucket_until_full", ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1m"}, false, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.policy.Name = "p"
				s := newFakeServer(t, test.policy)
				s.nextUnit = test.nextUnit
				c := s.client(t, client.Options{})
				if errs := sendAll(t.Context(), c, 1, 2, 5); len(errs) > 0 {
					t.Fatal(errs)
				}
				began := time.Now()
				if err := send(t.Context(), c, 5); err != nil || time.Since(began) != test.want || s.refused > 0 {
					t.Errorf("sent after %v, want %v; %d refused; %v", time.Since(began), test.want, s.refused, err)
				}
			})
		})
	}
}

// TestClient_Pacing_twoPolicies is about two requests of different groups that
// wait for two policies: neither may block the other for good.
func TestClient_Pacing_twoPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t,
			ratelimit.Policy{Name: "short", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"},
			ratelimit.Policy{Name: "long", Algorithm: ratelimit.FixedWindow, Limit: 14, Period: "20s"},
		)
		c := s.client(t, client.Options{})
		if errs := sendAll(t.Context(), c, 1, 1, 5); len(errs) > 0 {
			t.Fatal(errs)
		}
		if errs := sendAll(t.Context(), c, 1, 5, 1); len(errs) > 0 {
			t.Fatal(errs)
		}
		// Nothing remains of short, and of long too little for an order.
		began := time.Now()
		var all sync.WaitGroup
		sendAfter := func(cost int, want time.Duration) {
			all.Go(func() {
				if err := send(t.Context(), c, cost); err != nil || time.Since(began).Truncate(time.Second) != want {
					t.Errorf("cost %d: sent after %v, want %v; %v", cost, time.Since(began), want, err)
				}
			})
			time.Sleep(time.Millisecond)
		}
		sendAfter(1, 10*time.Second)
		sendAfter(5, 20*time.Second)
		for range 2 { // they are free, and the others look again
			if _, err := c.GetMe(t.Context()); err != nil || time.Since(began) > time.Second {
				t.Errorf("free request took %v, %v", time.Since(began), err)
			}
		}
		all.Wait()
	})
}

// TestClient_Pacing_start is about a quota that is used up when the client starts.
func TestClient_Pacing_start(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t, ratelimit.Policy{Name: "p", Algorithm: ratelimit.FixedWindow, Limit: 8, Period: "1m"})
		if errs := sendAll(t.Context(), s.client(t, client.Options{}), 8, 1, 1); len(errs) > 0 {
			t.Fatal(errs)
		}
		s.delay = func() time.Duration { return 10 * time.Millisecond }
		if errs := sendAll(t.Context(), s.client(t, client.Options{}), 8, 1, 1); len(errs) > 0 {
			t.Error(errs)
		}
		if s.refused != 1 {
			t.Errorf("%d refused, want the first one only", s.refused)
		}
	})
}

// TestClient_Pacing_quotaChanges is about quotas that change while the client
// knows another.
func TestClient_Pacing_quotaChanges(t *testing.T) {
	daily := ratelimit.Policy{Name: "daily", Algorithm: ratelimit.Calendar, Limit: 5, Period: "day"}
	wide := ratelimit.Policy{Name: "wide", Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "1s"}
	t.Run("raised", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeServer(t, daily)
			c := s.client(t, client.Options{})
			if errs := sendAll(t.Context(), c, 1, 5, 1); len(errs) > 0 {
				t.Fatal(errs)
			}
			s.set(t, wide)
			failures := 0
			for send(t.Context(), c, 1) != nil {
				failures++
				time.Sleep(time.Minute)
			}
			if failures != 10 || s.refused > 0 {
				t.Errorf("%d requests failed in as many minutes, %d refused", failures, s.refused)
			}
			if errs := sendAll(t.Context(), c, 8, 10, 1); len(errs) > 0 {
				t.Error(errs)
			}
		})
	})
	t.Run("lowered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeServer(t, wide)
			c := s.client(t, client.Options{MaxWait: forever})
			if err := send(t.Context(), c, 1); err != nil {
				t.Fatal(err)
			}
			s.set(t, daily)
			if errs := sendAll(t.Context(), c, 8, 2, 1); len(errs) > 0 {
				t.Error(errs)
			}
			if s.refused > 8 { // those in flight
				t.Errorf("%d refused", s.refused)
			}
		})
	})
	t.Run("unlimited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeServer(t)
			s.work = func() time.Duration { return time.Second }
			c := s.client(t, client.Options{})
			began := time.Now()
			if errs := sendAll(t.Context(), c, 50, 2, 1); len(errs) > 0 {
				t.Error(errs)
			}
			if took := time.Since(began); took > 5*time.Second || s.most < 49 {
				t.Errorf("%d at once, in %v", s.most, took)
			}
		})
	})
}

// TestClient_Pacing_slowFirstResponse is about requests that wait for the first
// response only for a second.
func TestClient_Pacing_slowFirstResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer(t)
		s.work = func() time.Duration { return 30 * time.Second }
		c := s.client(t, client.Options{})
		began := time.Now()
		if errs := sendAll(t.Context(), c, 3, 1, 1); len(errs) > 0 {
			t.Error(errs)
		}
		if took := time.Since(began); took > 33*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
