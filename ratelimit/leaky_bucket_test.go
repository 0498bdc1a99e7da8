package ratelimit

import (
	"testing"
	"time"
)

// TestLeakyBucket_Remaining spends what remains in single units at once.
func TestLeakyBucket_Remaining(t *testing.T) {
	for _, c := range []struct {
		name    string
		maxWait Period
		before  int64         // units spent first
		pause   time.Duration // then
		want    int64
	}{
		{"short_wait", "150ms", 0, 0, 2},
		{"wait_of_whole_intervals", "200ms", 0, 0, 3},
		{"below_an_interval", "99ms", 0, 0, 1},
		{"part_of_queue_used", "450ms", 3, 0, 2},
		{"partly_drained", "450ms", 3, 50 * time.Millisecond, 3},
		{"queue_full", "150ms", 2, 0, 0},
		{"drained", "150ms", 2, time.Second, 2},
		{"wait_above_capacity", "10s", 4, 0, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &counter{c: mustCompile(t, Policy{Algorithm: LeakyBucket, Limit: 10, Period: "1s", MaxWait: c.maxWait})}
			now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC).UnixNano()
			if c.before > 0 {
				k.take(now, c.before)
			}
			now += int64(c.pause)
			if got := k.status(now, 0).Remaining; got != c.want {
				t.Errorf("Remaining = %d, want %d", got, c.want)
			}
			passed := int64(0)
			for range 20 {
				if _, ok := k.take(now, 1); ok {
					passed++
				}
			}
			if passed != c.want {
				t.Errorf("%d units pass, want %d", passed, c.want)
			}
		})
	}
}
