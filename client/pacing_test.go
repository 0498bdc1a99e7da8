package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	options  []client.Option
	seed     uint64
}

// forEver is to wait for as long as it takes.
var forEver = []client.Option{client.WithLongestWait(1000 * time.Hour)}

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
		s.spend(t.Context(), l.spent)
		time.Sleep(l.after)
		s.delay = func() time.Duration { return random.upTo(l.delay) }
		s.work = func() time.Duration { return random.upTo(l.work) }
		if l.failures {
			s.status = func() int { return []int{200, 200, 404, 500}[random.upTo(3)] }
		}
		began := time.Now()
		var failed atomic.Pointer[error]
		var all sync.WaitGroup
		for range max(1, l.clients) {
			c, err := client.New("http://api.test", "key", append([]client.Option{client.WithBase(s)}, l.options...)...)
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

func send(ctx context.Context, c *client.Client, cost int) error {
	if cost == 5 {
		_, err := c.CreateOrder(ctx, nil, client.CreateOrder{})
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
		p.Period, p.Limit = ratelimit.Day, 10*p.Limit // a look each ten minutes of a wait for days adds up
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
			options: forEver,
			workers: rapid.IntRange(1, 8).Draw(rt, "workers"), each: rapid.IntRange(1, 30).Draw(rt, "each"),
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

// speeds is one policy of each algorithm, with journeys of up to 40 ms, and how
// long the load takes at least by the quota alone.
var speeds = []struct {
	policy ratelimit.Policy
	load   load
	least  time.Duration
}{
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.TokenBucket, Limit: 10, Period: "1s", Burst: 20},
		load:   load{costs: []int{1}, each: 150}, least: 58 * time.Second,
	},
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "1s"},
		load:   load{costs: []int{1}, each: 150}, least: 59900 * time.Millisecond,
	},
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.FixedWindow, Limit: 50, Period: "10s"},
		load:   load{costs: []int{1}, each: 150}, least: 110 * time.Second,
	},
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.FixedWindow, Limit: 20, Period: "1s"},
		load:   load{costs: []int{1}, each: 150}, least: 29 * time.Second,
	},
	{ // what is spent at once in the first window slides out in the second
		policy: ratelimit.Policy{Algorithm: ratelimit.SlidingWindow, Limit: 50, Period: "10s"},
		load:   load{costs: []int{1}, each: 150}, least: 120 * time.Second,
	},
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.SlidingLog, Limit: 50, Period: "10s"},
		load:   load{costs: []int{1}, each: 150}, least: 110 * time.Second,
	},
	{
		policy: ratelimit.Policy{Algorithm: ratelimit.Calendar, Limit: 100, Period: "day"},
		load:   load{costs: []int{1}, each: 75}, least: 48 * time.Hour,
	},
	{ // each is on its way for 40 ms on average, and works for 50 ms
		policy: ratelimit.Policy{Algorithm: ratelimit.Concurrency, Limit: 2},
		load:   load{costs: []int{1}, each: 150, work: 100 * time.Millisecond}, least: 600 / 2 * 90 * time.Millisecond,
	},
}

func TestThePacingIsAlmostAsFastAsEachAlgorithmAllows(t *testing.T) {
	for _, speed := range speeds {
		t.Run(string(speed.policy.Algorithm)+" "+string(speed.policy.Period), func(t *testing.T) {
			l := speed.load
			l.workers, l.delay, l.fast, l.seed = 4, 40*time.Millisecond, -50, 7
			speed.policy.Name = "p"
			l.policies, l.options = []ratelimit.Policy{speed.policy}, forEver
			r := run(t, l)
			ratio := speed.least.Seconds() / r.took.Seconds()
			t.Logf("%v of %v at least: %.1f %%; %d looks", r.took, speed.least, 100*ratio, r.looks)
			if r.err != nil || r.refused > 0 || ratio < 0.9 {
				t.Errorf("%d refused, %v; took %v, and the quota allows %v", r.refused, r.err, r.took, speed.least)
			}
			if speed.policy.Algorithm == ratelimit.Concurrency && r.top > 2 {
				t.Errorf("%d ran at once", r.top)
			}
		})
	}
}

func TestSeveralClientsOfOneKeyAllGetThrough(t *testing.T) {
	for _, speed := range speeds {
		t.Run(string(speed.policy.Algorithm)+" "+string(speed.policy.Period), func(t *testing.T) {
			l := speed.load
			l.workers, l.clients, l.each, l.delay, l.seed = 2, 3, l.each/2, 40*time.Millisecond, 7
			speed.policy.Name = "p"
			l.policies = []ratelimit.Policy{speed.policy}
			if speed.policy.Algorithm == ratelimit.Calendar {
				l.options = forEver // else with the defaults
			}
			r := run(t, l)
			ratio := speed.least.Seconds() * float64(6*l.each) / float64(4*speed.load.each) / r.took.Seconds()
			t.Logf("%v (%.0f %%), %d admitted, %d refused", r.took, 100*ratio, r.allowed, r.refused)
			if r.err != nil || r.allowed != 6*l.each {
				t.Errorf("%d admitted; %v", r.allowed, r.err)
			}
			if r.refused > r.allowed/2 {
				t.Errorf("%d refused of %d", r.refused, r.allowed+r.refused)
			}
		})
	}
}

// TestJourneysThatRefusedOnce are those that an earlier pacing took wrongly, and
// some where windows end while requests are under way.
func TestJourneysThatRefusedOnce(t *testing.T) {
	fixed := func(limit int64, period ratelimit.Period) ratelimit.Policy {
		return ratelimit.Policy{Name: "f", Algorithm: ratelimit.FixedWindow, Limit: limit, Period: period}
	}
	leaky := func(limit int64, period ratelimit.Period) ratelimit.Policy {
		return ratelimit.Policy{Name: "l", Algorithm: ratelimit.LeakyBucket, Limit: limit, Period: period}
	}
	sliding := func(limit int64, period ratelimit.Period) ratelimit.Policy {
		return ratelimit.Policy{Name: "s", Algorithm: ratelimit.SlidingWindow, Limit: limit, Period: period}
	}
	loads := map[string]load{
		"windows shorter than the journey": {policies: []ratelimit.Policy{fixed(5, "110ms")}, workers: 6, each: 13, costs: []int{5}, delay: 135 * time.Millisecond, failures: true},
		"orders and reads in a queue":      {policies: []ratelimit.Policy{leaky(6, "2638ms")}, workers: 8, each: 20, costs: []int{5, 5, 1}, delay: time.Millisecond, failures: true},
		"answers around a window's end":    {policies: []ratelimit.Policy{fixed(6, "1s")}, workers: 3, each: 20, costs: []int{1}, delay: 200 * time.Millisecond},
		"answers around a sliding end":     {policies: []ratelimit.Policy{sliding(6, "1s")}, workers: 3, each: 20, costs: []int{1}, delay: 200 * time.Millisecond},
	}
	for name, l := range loads {
		t.Run(name, func(t *testing.T) {
			for l.seed = range 40 {
				l.options = forEver
				l.after = time.Duration(l.seed) * 37 * time.Millisecond
				if r := run(t, l); r.err != nil || r.refused > 0 {
					t.Fatalf("seed %d: %d refused; %v", l.seed, r.refused, r.err)
				}
			}
		})
	}
}
