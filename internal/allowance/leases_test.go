package allowance_test

import (
	"errors"
	"testing"
	"time"

	"ratelimiter/ratelimit"
)

// TestService_down_asks_for_no_more checks that requests which fail while Postgres
// is unavailable don't make the next lease larger.
func TestService_down_asks_for_no_more(t *testing.T) {
	onBench(t, func(b *bench) {
		q := b.quota(daily(10_000))
		b.durable.setDown(true)
		for range 5000 {
			if _, err := b.take(q, 1); !errors.Is(err, ratelimit.ErrNoLease) {
				t.Fatal(err)
			}
		}
		b.durable.setDown(false)
		time.Sleep(2 * time.Second)
		b.want(q, 1, true)
		if used := b.used(); used > 200 {
			t.Errorf("%d units are leased, want at most 2 %% of the limit, 200", used)
		}
	})
}
