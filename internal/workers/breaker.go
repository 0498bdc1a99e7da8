package workers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"

	"ratelimiter/internal/queue"
)

// The circuit breaker of the gateway opens when more than half of at least
// breakerCalls calls within breakerInterval failed. After breakerPause one call is
// tried; its outcome closes the breaker or opens it again.
const (
	breakerInterval = 10 * time.Second
	breakerBucket   = time.Second // resolution of the interval
	breakerCalls    = 20
	breakerPause    = 5 * time.Second
)

// newBreaker returns a closed circuit breaker. Calls that the gateway answered, also
// with a refusal, succeed; those that the caller gave up aren't counted.
func newBreaker(log *slog.Logger) *gobreaker.CircuitBreaker[response] {
	return gobreaker.NewCircuitBreaker[response](gobreaker.Settings{
		Interval: breakerInterval, BucketPeriod: breakerBucket, Timeout: breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			finished := c.TotalSuccesses + c.TotalFailures // Requests includes those in progress
			return finished >= breakerCalls && 2*c.TotalFailures > finished
		},
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("payment gateway: circuit breaker", "from", from.String(), "to", to.String())
		},
	})
}

// postponed returns the error of a call that the breaker rejected: the message is
// delivered again after the pause, without counting an attempt. The delays are
// jittered, so that the messages don't come back all at once.
func postponed(err error) error {
	after := breakerPause + rand.N(time.Second)
	if errors.Is(err, gobreaker.ErrTooManyRequests) { // a call is being tried
		after = time.Second + rand.N(time.Second)
	}
	return queue.Postpone(after, errors.New("the payment gateway fails: calls are suspended"))
}
