package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSlidingWindowsErrorAgainstTheLog feeds the same requests to a
// sliding_window and looks at its verdicts through a log of what it admitted:
// how often it decides otherwise than an exact count would, and how much more
// than the limit any period has held. The numbers stand in sliding_window's
// comment and in docs/concepts/rate-limiting.md; this test keeps them true.
func TestSlidingWindowsErrorAgainstTheLog(t *testing.T) {
	const limit, requests = 100, 200_000
	for _, traffic := range []struct {
		name string
		load float64 // requests offered, as a multiple of the limit
		// bursts of this many requests at once
		burst       int
		wrong, over float64 // at most, in per cent
	}{
		{"at the limit", 1, 1, 15, 18},
		{"at twice the limit", 2, 1, 40, 6},
		{"at the limit in bursts of twenty", 1, 20, 25, 55},
		{"at half the limit", 0.5, 1, 0.1, 0.1},
	} {
		t.Run(traffic.name, func(t *testing.T) {
			wrong, over := slidingError(t, limit, requests, traffic.load, traffic.burst)
			t.Logf("%.3f %% of verdicts differ from the log's, at most %.1f %% over the limit in any period", wrong, over)
			if wrong > traffic.wrong || over > traffic.over {
				t.Errorf("more than %v %% and %v %%", traffic.wrong, traffic.over)
			}
		})
	}
}

func slidingError(t *testing.T, limit int64, requests int, load float64, burst int) (wrong, over float64) {
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
