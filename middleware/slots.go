package middleware

import (
	"context"
	"sync"
	"time"

	"ratelimiter/ratelimit"
)

// keepSlots renews a reservation's concurrency slots twice in every hold, so
// that a request which runs for longer keeps them, until stop is called.
func keepSlots(r *ratelimit.Reservation, hold time.Duration) (stop func()) {
	k := &slotKeeper{reservation: r, every: hold / 2}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(k.every, k.renew)
	return k.stop
}

type slotKeeper struct {
	reservation *ratelimit.Reservation
	every       time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// renew prolongs the slots and comes back. An error is the store's failure, or
// says that a slot is lost: then there is nothing to keep, and the request runs
// to its end.
func (k *slotKeeper) renew() {
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

// stop ends the renewals, and waits for one under way: the reservation is used
// again afterwards.
func (k *slotKeeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}
