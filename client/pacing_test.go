package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ratelimiter/client"
	"ratelimiter/ratelimit"
)

// load is who sends what.
type load struct {
	policies []ratelimit.Policy
	workers  int
	each     int   // requests of each worker
	costs    []int // 1 or 5, over and over
	spent    int   // units that were spent before
	after    time.Duration
	fast     int64 // millionths
	delay    time.Duration
	work     time.Duration
	failures bool
	clients  int
	seed     uint64
}

type result struct {
	took             time.Duration
	refused, allowed int
	top, looks       int
	err              error
}

// run sends a load in a bubble of synctest.
func run(t *testing.T, l load) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := &safeRand{Rand: rand.New(rand.NewPCG(l.seed, 1))}
		s, err := newServer(l.policies, l.fast)
		if err != nil {
			r.err = err
			return
		}
		for range l.spent {
			s.answer(request(t, http.MethodGet, "/v1/products"))
		}
		time.Sleep(l.after)
		s.refused, s.admitted = 0, 0
		s.delay = func() time.Duration { return random.upTo(l.delay) }
		s.work = func() time.Duration { return random.upTo(l.work) }
		if l.failures {
			s.status = func() int { return []int{200, 200, 404, 500}[random.upTo(3)] }
		}
		began := time.Now()
		var failed atomic.Pointer[error]
		var all sync.WaitGroup
		for range max(1, l.clients) {
			c, err := client.New("http://api.test", "key", client.WithBase(s), client.WithLongestWait(1000*time.Hour), client.WithMaxAttempts(50))
			if err != nil {
				t.Fatal(err)
			}
			for range l.workers {
				all.Go(func() {
					for i := range l.each {
						if err := send(t.Context(), c, l.costs[i%len(l.costs)]); err != nil && !l.failures {
							failed.CompareAndSwap(nil, &err)
						}
					}
				})
			}
		}
		all.Wait()
		if err := failed.Load(); err != nil {
			r.err = *err
		}
		r.took, r.refused, r.allowed, r.top, r.looks = time.Since(began), s.refused, s.admitted, s.top, s.looks
	})
	return r
}

func request(t *testing.T, method, path string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), method, "http://api.test"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func send(ctx context.Context, c *client.Client, cost int) error {
	if cost == 5 {
		_, err := c.CreateOrder(ctx, client.CreateOrder{})
		return err
	}
	_, err := c.ListProducts(ctx, nil)
	return err
}

type safeRand struct {
	mu sync.Mutex
	*rand.Rand
}

func (r *safeRand) upTo(d time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.Int64N(int64(d) + 1))
}

// somePolicy draws a policy that every request can pass.
func somePolicy(t *rapid.T, name string) ratelimit.Policy {
	algorithms := []ratelimit.Algorithm{
		ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog,
		ratelimit.Calendar, ratelimit.Concurrency,
	}
	p := ratelimit.Policy{
		Name: name, Algorithm: rapid.SampledFrom(algorithms).Draw(t, "algorithm"),
		Limit: rapid.Int64Range(5, 60).Draw(t, "limit"),
	}
	if rapid.IntRange(0, 3).Draw(t, "grouped") == 0 {
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
	if p.Algorithm == ratelimit.TokenBucket {
		p.Burst = rapid.Int64Range(5, 100).Draw(t, "burst")
	}
	return p
}

func TestNoRequestIsRefusedWhateverThePoliciesAndTheJourneys(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := load{
			workers: rapid.IntRange(1, 8).Draw(rt, "workers"), each: rapid.IntRange(1, 40).Draw(rt, "each"),
			costs: rapid.SliceOfN(rapid.SampledFrom([]int{1, 5}), 1, 4).Draw(rt, "costs"),
			spent: rapid.IntRange(0, 60).Draw(rt, "spent"), after: time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, "after")),
			fast:     rapid.Int64Range(-90, 90).Draw(rt, "fast"),
			delay:    time.Duration(rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(rt, "delay")),
			work:     time.Duration(rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(rt, "work")),
			failures: rapid.Bool().Draw(rt, "failures"),
			seed:     rapid.Uint64().Draw(rt, "seed"),
		}
		for i := range rapid.IntRange(1, 3).Draw(rt, "policies") {
			l.policies = append(l.policies, somePolicy(rt, fmt.Sprintf("p%d", i)))
		}
		r := run(t, l)
		if r.err != nil || r.refused > 0 || r.allowed != l.workers*l.each {
			rt.Fatalf("%d admitted, %d refused, %v; want %d and none", r.allowed, r.refused, r.err, l.workers*l.each)
		}
	})
}
