package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// otherClock is a store whose clock isn't the limiter's.
type otherClock struct {
	ratelimit.Store
	ahead time.Duration
}

func (s otherClock) Take(ctx context.Context, b *ratelimit.Batch) error {
	b.Now += int64(s.ahead)
	return s.Store.Take(ctx, b)
}

func (s otherClock) Give(ctx context.Context, b *ratelimit.Batch) error {
	b.Now += int64(s.ahead)
	return s.Store.Give(ctx, b)
}

// Requests queue for their turn, also if the clocks are far apart.
func TestReservationWait_other_clock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, q := ratelimit.New(otherClock{memory.New(), ahead}), mustQuota(t, queue)
				reservations := make([]ratelimit.Reservation, 4)
				for i := range reservations {
					if err := l.Reserve(ctx, &reservations[i], q, "", 1); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				for i := range reservations[:3] {
					if err := reservations[i].Wait(ctx); err != nil {
						t.Fatal(err)
					}
					if waited, want := time.Since(began), time.Duration(i)*100*time.Millisecond; waited != want {
						t.Errorf("request %d starts after %v, want %v", i, waited, want)
					}
				}
				short, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				last := &reservations[3]
				if err := last.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait = %v, want DeadlineExceeded", err)
				}
				if after, ok := last.Decision.RetryAfter(); !ok || after != 100*time.Millisecond {
					t.Errorf("RetryAfter = %v, %v; want 100ms", after, ok)
				}
			})
		})
	}
}
