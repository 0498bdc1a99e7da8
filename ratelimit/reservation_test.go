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

var queue = ratelimit.Policy{Name: "queue", Algorithm: ratelimit.LeakyBucket, Limit: 10, Period: "1s", MaxWait: "500ms"}

// TestReservationWait_SpacesRequests checks that simultaneous requests start one
// emission interval apart and that those that don't fit in the queue are refused.
func TestReservationWait_SpacesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := ratelimit.New(memory.New()), mustQuota(t, queue)
		began := time.Now()
		starts := make(chan time.Duration, 10)
		for range 10 {
			go func() {
				var r ratelimit.Reservation
				if err := l.Reserve(ctx, &r, q, "", 1); err != nil {
					t.Error(err)
				}
				if !r.Decision.Allowed {
					starts <- -1
					return
				}
				if err := r.Wait(ctx); err != nil {
					t.Error(err)
				}
				starts <- time.Since(began)
			}()
		}
		refused := 0
		for i, next := 0, time.Duration(0); i < 10; i++ {
			switch start := <-starts; start {
			case -1:
				refused++
			case next:
				next += 100 * time.Millisecond
			default:
				t.Errorf("a request started at %v, want %v", start, next)
			}
		}
		if refused != 4 {
			t.Errorf("%d requests were refused, want 4: six fit in the queue of 500 ms", refused)
		}
	})
}

func TestReservationWait_Cancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, q := ratelimit.New(memory.New()), mustQuota(t, queue)
		var first, second, third ratelimit.Reservation
		for _, r := range []*ratelimit.Reservation{&first, &second, &third} {
			if err := l.Reserve(ctx, r, q, "", 1); err != nil || !r.Decision.Allowed {
				t.Fatal(err, r.Decision)
			}
		}
		began := time.Now()
		if err := first.Wait(ctx); err != nil || time.Since(began) != 0 {
			t.Errorf("first Wait = %v after %v, want nil at once", err, time.Since(began))
		}
		// A deadline before the turn fails at once.
		short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
		defer cancel()
		if err := third.Wait(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 0 {
			t.Errorf("Wait before the turn = %v after %v, want DeadlineExceeded at once", err, time.Since(began))
		}
		// The failed wait has released its turn at the end of the queue.
		if err := l.Reserve(ctx, &third, q, "", 1); err != nil || third.Decision.Wait != 200*time.Millisecond {
			t.Errorf("next Decision.Wait = %v, %v, want 200ms", third.Decision.Wait, err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		time.AfterFunc(30*time.Millisecond, cancel)
		if err := third.Wait(cancelled); !errors.Is(err, context.Canceled) || time.Since(began) != 30*time.Millisecond {
			t.Errorf("cancelled Wait = %v after %v, want Canceled after 30ms", err, time.Since(began))
		}
		if err := third.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
			t.Errorf("Release after a cancelled Wait = %v, want ErrSettled", err)
		}
		// A turn in the past doesn't wait.
		time.Sleep(time.Second)
		at := time.Now()
		if err := second.Wait(ctx); err != nil || time.Since(at) != 0 {
			t.Errorf("Wait after the turn = %v after %v, want nil at once", err, time.Since(at))
		}
	})
}

// failingStore fails from call number fromCall on.
type failingStore struct {
	ratelimit.Store
	calls, fromCall int
}

var errStore = errors.New("store is down")

func (f *failingStore) fails() bool { f.calls++; return f.calls >= f.fromCall }

func (f *failingStore) Take(ctx context.Context, b *ratelimit.Batch) error {
	if f.fails() {
		return errStore
	}
	return f.Store.Take(ctx, b)
}

func (f *failingStore) Give(ctx context.Context, b *ratelimit.Batch) error {
	if f.fails() {
		return errStore
	}
	return f.Store.Give(ctx, b)
}

func TestReserve_StoreFailure(t *testing.T) {
	store := &failingStore{Store: memory.New(), fromCall: 2}
	l, q := ratelimit.New(store), mustQuota(t, freePlan...)
	var r ratelimit.Reservation
	if err := l.Reserve(ctx, &r, q, "", 1); err != nil || !r.Decision.Allowed {
		t.Fatal(err)
	}
	if err := r.Release(ctx); !errors.Is(err, errStore) {
		t.Fatalf("Release = %v, want %v", err, errStore)
	}
	if err := r.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
		t.Fatalf("Release after a failed one = %v, want ErrSettled", err)
	}
	// A reused reservation keeps nothing of the last decision.
	if err := l.Reserve(ctx, &r, q, "", 1); !errors.Is(err, errStore) {
		t.Fatal(err)
	}
	if d := &r.Decision; d.Allowed || len(d.Statuses()) != 0 || len(d.Shadows()) != 0 || d.Wait != 0 {
		t.Fatalf("decision after a store failure: %+v", d)
	}
	if err := r.Release(ctx); !errors.Is(err, ratelimit.ErrSettled) {
		t.Fatalf("Release without a take = %v, want ErrSettled", err)
	}
	if _, err := l.Peek(ctx, q, ""); !errors.Is(err, errStore) {
		t.Fatal(err)
	}
}

func TestReservation_Reuse(t *testing.T) {
	clock := newTestClock()
	l := ratelimit.New(memory.New(), ratelimit.WithClock(clock.now))
	small, large := mustQuota(t, queue), mustQuota(t, everyAlgorithm...)
	var r ratelimit.Reservation
	for i := range 20 {
		q, want := small, 1
		if i%2 == 1 {
			q, want = large, 7
		}
		if i%3 == 2 {
			q, want = mustQuota(t), 0
		}
		clock.advance(time.Minute)
		if err := l.Reserve(ctx, &r, q, "", 1); err != nil || !r.Decision.Allowed || len(r.Decision.Statuses()) != want {
			t.Fatalf("round %d: %v, %+v", i, err, r.Decision)
		}
		for j, s := range r.Decision.Statuses() {
			want := s.Limit - 1
			if s.Policy.Algorithm == ratelimit.LeakyBucket {
				want = min(want, map[ratelimit.Period]int64{"500ms": 5, "": 20}[q.Policies()[j].MaxWait]) // turns within max_wait
			}
			if s.Policy.Name != q.Policies()[j].Name || s.Remaining != want {
				t.Fatalf("round %d: %s has %d of %d remaining, want %d", i, s.Policy.Name, s.Remaining, s.Limit, want)
			}
		}
		if err := r.Release(ctx); (err == nil) != (want > 0) {
			t.Fatal(err)
		}
	}
}

func TestLimiter_DefaultClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(memory.New())
		q := mustQuota(t, ratelimit.Policy{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 5, Period: "1h"})
		time.Sleep(20 * time.Minute) // virtual time; the bubble starts at midnight
		d, err := l.Peek(ctx, q, "")
		if err != nil || d.Statuses()[0].ResetAfter != 40*time.Minute {
			t.Fatalf("ResetAfter isn't 40m: %v, %+v", err, d.Statuses())
		}
	})
}
