package client_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/client"
	"ratelimiter/ratelimit"
)

// free is the plan of that name.
var free = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 300, Period: "1m"},
	{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: 10000, Period: ratelimit.Month},
}

// shared is what came of several processes that share a key.
type shared struct {
	answers []int // of each
	refused int
}

// share lets processes, as clients that know nothing of each other and have no
// options, send all they can from 8 goroutines each, for so long.
func share(t *testing.T, policies []ratelimit.Policy, processes int, lasts time.Duration, seed uint64, hanging int64) (r shared) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := &safeRand{Rand: rand.New(rand.NewPCG(seed, 1))}
		s, err := newServer(policies, 0)
		if err != nil {
			t.Fatal(err)
		}
		var sent atomic.Int64
		s.delay = func() time.Duration {
			if sent.Add(1) == hanging {
				return lasts
			}
			return random.upTo(10 * time.Millisecond)
		}
		began := time.Now()
		counts := make([]atomic.Int64, processes)
		var all sync.WaitGroup
		for i := range processes {
			c, err := client.New("http://api.test", "key", client.WithBase(s))
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				all.Go(func() {
					for time.Since(began) < lasts {
						if err := send(t.Context(), c, 1); err != nil {
							t.Errorf("after %v: %v", time.Since(began), err)
							return
						}
						counts[i].Add(1)
					}
				})
			}
		}
		all.Wait()
		for i := range counts {
			r.answers = append(r.answers, int(counts[i].Load()))
		}
		r.refused = s.refused
	})
	return r
}

// TestProcessesThatShareAKeyAllGetThroughAndNoneStarves asks for a third of an
// equal share: the pauses are random, and these runs are long enough for that
// to be five standard deviations away.
func TestProcessesThatShareAKeyAllGetThroughAndNoneStarves(t *testing.T) {
	for _, test := range []struct {
		name      string
		policies  []ratelimit.Policy
		processes int
		lasts     time.Duration
		hanging   int64 // which request takes all the time; 0: none
	}{
		{name: "two", policies: free, processes: 2, lasts: 15 * time.Second},
		{name: "two for minutes", policies: free, processes: 2, lasts: 3 * time.Minute},
		{name: "two, and one waits for an answer", policies: free[:1], processes: 2, lasts: 40 * time.Second, hanging: 50},
		{name: "three", policies: free, processes: 3, lasts: 25 * time.Second},
		{name: "six", policies: free[:1], processes: 6, lasts: time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(5) {
				r := share(t, test.policies, test.processes, test.lasts, seed, test.hanging)
				sum := 0
				for _, n := range r.answers {
					sum += n
				}
				t.Logf("%v answers, %d in all; %d refused", r.answers, sum, r.refused)
				if least := slices.Min(r.answers); least*test.processes*3 < sum {
					t.Errorf("one of %d has %d of %d answers: less than a third of its share", test.processes, least, sum)
				}
				if r.refused*4 > sum*test.processes {
					t.Errorf("%d were refused for %d answers", r.refused, sum)
				}
			}
		})
	}
}
