package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSlidingWindow_Error compares a sliding_window with a log of the requests
// that it admitted: how many verdicts differ from an exact count, and by how much
// any period exceeds the limit. docs/concepts/rate-limiting.md publishes the
// numbers, which may not grow.
func TestSlidingWindow_Error(t *testing.T) {
	const limit, requests, runs = 100, 200_000, 20
	for _, c := range []struct {
		name      string
		load      float64 // offered requests as a multiple of the limit
		burst     int     // simultaneous requests
		maxWrong  float64 // per cent of verdicts, on average
		maxExcess float64 // per cent of the limit
	}{
		{"at_half_limit", 0.5, 1, 0.1, 0},
		{"at_limit", 1, 1, 15, 19},
		{"at_twice_limit", 2, 1, 39, 7},
		{"at_limit_in_bursts", 1, 20, 24, 75},
		{"limit_at_once", 1, 100, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var wrong, excess float64
			for seed := range uint64(runs) {
				w, e := slidingWindowError(t, limit, requests, c.load, c.burst, seed+1)
				wrong, excess = wrong+w/runs, max(excess, e)
			}
			t.Logf("%.3f %% of the verdicts are wrong, a period exceeds the limit by up to %.1f %%", wrong, excess)
			if wrong > c.maxWrong || excess > c.maxExcess {
				t.Errorf("want at most %v %% and %v %%", c.maxWrong, c.maxExcess)
			}
		})
	}
}

// slidingWindowError returns the wrong verdicts and the largest excess of any
// period, both in per cent.
func slidingWindowError(t *testing.T, limit int64, requests int, load float64, burst int, seed uint64) (wrong, excess float64) {
	c := mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: limit, Period: "1m"})
	rng := rand.New(rand.NewPCG(seed, 11))
	now, state := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), State{}
	mean := float64(c.period) / float64(limit) / load * float64(burst)
	var admitted []int64 // times of the last period
	differ, most := 0, 0
	for i := range requests {
		if i%burst == 0 {
			now += int64(rng.ExpFloat64() * mean)
		}
		for len(admitted) > 0 && admitted[0] <= now-c.period {
			admitted = admitted[1:]
		}
		next, ok := c.Take(state, now, 1)
		if ok != (len(admitted) < int(limit)) {
			differ++
		}
		if ok {
			state = next
			admitted = append(admitted, now)
			most = max(most, len(admitted))
		}
	}
	return 100 * float64(differ) / float64(requests), max(0, 100*float64(most-int(limit))/float64(limit))
}

// drawSlidingWindow draws a policy with a limit from low to high.
func drawSlidingWindow(t *rapid.T, low, high int64) *Compiled {
	limit := rapid.Int64Range(low, high).Draw(t, "limit")
	ms := rapid.Int64Range((limit+999)/1000, 366*86400*1000).Draw(t, "period")
	p := Policy{Name: "p", Algorithm: SlidingWindow, Limit: limit, Period: Every(time.Duration(ms) * time.Millisecond)}
	if err := Validate([]Policy{p}); err != nil {
		t.Fatal(err)
	}
	c, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mustPass takes cost at each of the times, in nanoseconds from any start.
func mustPass(t *rapid.T, c *Compiled, cost, requests int64, at func(i int64) int64) {
	k := &counter{c: c}
	start := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC).UnixNano() + rapid.Int64Range(0, c.period).Draw(t, "phase")
	for i := range requests {
		if s, ok := k.take(start+at(i), cost); !ok {
			t.Fatalf("request %d is refused: %+v", i, c.Status(s, start+at(i), cost, false))
		}
	}
}

// evenly returns the time of request i of n in each period.
func evenly(c *Compiled, n, i int64) int64 {
	at, _, _ := mulDiv(i, c.period, n)
	return at
}

// TestSlidingWindow_EvenCallers sends evenly spaced requests. None may be
// refused.
func TestSlidingWindow_EvenCallers(t *testing.T) {
	t.Run("any_cost_up_to_the_limit", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			c := drawSlidingWindow(t, 1, rapid.SampledFrom([]int64{exactWindow, 1000, 2000 * MaxCost}).Draw(t, "largest"))
			least := max(1, c.limit/2000) // so that a period has at most 2,000 requests
			cost := rapid.Int64Range(least, min(MaxCost, c.limit)).Draw(t, "cost")
			n := c.limit / cost
			if rapid.Bool().Draw(t, "slower") {
				n = rapid.Int64Range(1, n).Draw(t, "requests per period")
			}
			mustPass(t, c, cost, 3*n+2, func(i int64) int64 { return evenly(c, n, i) })
		})
	})
	// Each request comes less than one interval late: two can come together.
	t.Run("single_units_with_jitter", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			c := drawSlidingWindow(t, exactWindow+1, 400)
			n := rapid.Int64Range(1, c.limit-3).Draw(t, "requests per period")
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			mustPass(t, c, 1, 5*n, func(i int64) int64 {
				return evenly(c, n, i) + rng.Int64N(c.period/n)
			})
		})
	})
	t.Run("one_in_6.1s_of_one_in_6s", func(t *testing.T) {
		k := &counter{c: mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: 1, Period: "6s"})}
		now := time.Date(2026, 3, 10, 12, 0, 1, 0, time.UTC).UnixNano()
		for i := range 100 {
			if _, ok := k.take(now, 1); !ok {
				t.Fatalf("request %d is refused", i)
			}
			if _, ok := k.take(now+int64(5999*time.Millisecond), 1); ok {
				t.Fatalf("a second request within 6 s of request %d passes", i)
			}
			now += int64(6100 * time.Millisecond)
		}
	})
}

// TestSlidingWindow_EvenAfterBursts compares bursts and trains of evenly spaced
// requests, by turns, with the model.
func TestSlidingWindow_EvenAfterBursts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawSlidingWindow(t, exactWindow+1, 50)
		got, reference := &counter{c: c}, newModel(c)
		now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC).UnixNano()
		for range rapid.IntRange(1, 6).Draw(t, "trains") {
			cost := rapid.SampledFrom([]int64{1, 2, 5, c.limit / 3, c.limit / 2, c.limit}).Draw(t, "cost")
			share := c.period / (c.limit / cost)
			pause := rapid.SampledFrom([]int64{0, share - 1, share, share, share, share + share/7}).Draw(t, "pause")
			for range rapid.Int64Range(1, 1+3*c.limit/cost).Draw(t, "requests") {
				compareStatus(t, got, reference, now, cost)
				if _, ok := got.take(now, cost); ok != reference.passes(now, cost) {
					t.Fatalf("allowed = %v, the model differs", ok)
				} else if ok {
					reference.charge(now, cost)
				}
				now += pause
			}
		}
	})
}

// TestSlidingWindow_LoweredLimit lowers the limit of a caller whose requests are
// evenly spaced at the higher one.
func TestSlidingWindow_LoweredLimit(t *testing.T) {
	high := mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: 200, Period: "1m"})
	low := mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: 100, Period: "1m"})
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC).UnixNano()
	var s State
	for range 400 {
		now += high.period / 200
		var ok bool
		if s, ok = high.Take(s, now, 1); !ok {
			t.Fatal("refused under the higher limit")
		}
	}
	now += low.period / 100
	if _, ok := low.Take(s, now, 1); ok {
		t.Error("about 200 units of the last minute were spent, and one more passes a limit of 100")
	}
}

// TestSlidingWindow_Example is the example in the comment of takeSlidingWindow.
func TestSlidingWindow_Example(t *testing.T) {
	k := &counter{c: mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: 100, Period: "1m"})}
	start := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		at        time.Duration
		cost      int64
		retry     time.Duration // 0: admitted
		remaining int64         // before
	}{
		{0, 1, 0, 100},
		{50 * time.Second, 79, 0, 99},
		{75 * time.Second, 40, 0, 40},
		{75 * time.Second, 1, 750 * time.Millisecond, 0},
		{75750 * time.Millisecond, 1, 0, 1},
	} {
		now := start.Add(c.at).UnixNano()
		st := k.status(now, c.cost)
		if st.RetryAfter != c.retry || st.Remaining != c.remaining {
			t.Errorf("%v: %+v", c.at, st)
		}
		k.take(now, c.cost)
	}
}
