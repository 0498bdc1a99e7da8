package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSlidingWindow_Error compares a sliding_window with a log of the requests
// that it admitted: how many verdicts differ from an exact count, and by how much
// any period exceeds the limit. docs/concepts/rate-limiting.md publishes the
// numbers.
func TestSlidingWindow_Error(t *testing.T) {
	const limit, requests = 100, 200_000
	for _, c := range []struct {
		name      string
		load      float64 // offered requests as a multiple of the limit
		burst     int     // simultaneous requests
		maxWrong  float64 // per cent of verdicts
		maxExcess float64 // per cent of the limit
	}{
		{"at_limit", 1, 1, 15, 18},
		{"at_twice_limit", 2, 1, 40, 6},
		{"at_limit_in_bursts", 1, 20, 25, 55},
		{"at_half_limit", 0.5, 1, 0.1, 0.1},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrong, excess := slidingWindowError(t, limit, requests, c.load, c.burst)
			t.Logf("%.3f %% of the verdicts are wrong, a period exceeds the limit by up to %.1f %%", wrong, excess)
			if wrong > c.maxWrong || excess > c.maxExcess {
				t.Errorf("want at most %v %% and %v %%", c.maxWrong, c.maxExcess)
			}
		})
	}
}

// slidingWindowError returns the wrong verdicts and the largest excess of any
// period, both in per cent.
func slidingWindowError(t *testing.T, limit int64, requests int, load float64, burst int) (wrong, excess float64) {
	c := mustCompile(t, Policy{Algorithm: SlidingWindow, Limit: limit, Period: "1m"})
	rng := rand.New(rand.NewPCG(7, 11))
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
	return 100 * float64(differ) / float64(requests), 100 * max(0, float64(most)/float64(limit)-1)
}
