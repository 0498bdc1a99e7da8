package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

func TestLimiter_ReserveAt(t *testing.T) {
	window := ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "10s"}
	fixed := time.Unix(1_700_000_007, 0)
	for name, c := range map[string]struct {
		opts []ratelimit.Option
		age  time.Duration // of the reading; negative: the zero time
		want time.Duration // until the window ends
	}{
		"reading":           {nil, 2 * time.Second, 7 * time.Second},
		"zero_time":         {nil, -1, 5 * time.Second},
		"clock_of_its_own":  {[]ratelimit.Option{ratelimit.WithClock(func() time.Time { return fixed })}, 2 * time.Second, 3 * time.Second},
		"present_by_itself": {nil, 0, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins at midnight
				l, q := ratelimit.New(memory.New(), c.opts...), mustQuota(t, window)
				time.Sleep(5*time.Second - max(0, c.age))
				at := time.Now()
				time.Sleep(max(0, c.age))
				if c.age < 0 {
					at = time.Time{}
				}
				var r ratelimit.Reservation
				if err := l.ReserveAt(ctx, &r, q, "", 1, at); err != nil {
					t.Fatal(err)
				}
				if got := r.Decision.Statuses()[0].ResetAfter; got != c.want {
					t.Errorf("ResetAfter = %v, want %v", got, c.want)
				}
			})
		})
	}
}
