package middleware

import (
	"context"
	"sync"
	"time"

	"ratelimiter/ratelimit"
)

// renewSlots renews a reservation's concurrency slots twice per hold, so that a
// long request keeps them, until it is stopped.
func renewSlots(r *ratelimit.Reservation, hold time.Duration) *slotRenewer {
	k := &slotRenewer{reservation: r, every: hold / 2}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(k.every, k.renew)
	return k
}

// keepSlots implements models.Request's KeepSlots. The state, which has the
// reservation, isn't reused then.
func (s *requestState) keepSlots() (release func()) {
	k := s.renewer
	if k == nil {
		return func() {}
	}
	s.kept = true
	return sync.OnceFunc(func() {
		k.stop()
		_ = k.reservation.Release(context.Background()) // if the store fails, they expire after their hold
	})
}

type slotRenewer struct {
	reservation *ratelimit.Reservation
	every       time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// renew renews the slots and schedules the next renewal. It ignores errors: the
// store failed, or a slot is lost, and the request runs to its end.
func (k *slotRenewer) renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	_ = k.reservation.Renew(ctx)
	k.timer.Reset(k.every)
}

// stop ends the renewals and waits for a running one, because the reservation is
// reused.
func (k *slotRenewer) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}
