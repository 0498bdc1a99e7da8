package queue

import (
	"errors"
	"math/rand/v2"
	"time"
)

// RetryPolicy says when a failed message is delivered again: exponential
// backoff with full jitter.
type RetryPolicy struct {
	Base        time.Duration // longest delay after the first attempt
	Cap         time.Duration // longest delay after any
	MaxAttempts int           // deliveries after which the message is a dead letter
}

// DefaultRetryPolicy is 8 attempts over about two minutes.
var DefaultRetryPolicy = RetryPolicy{Base: time.Second, Cap: 5 * time.Minute, MaxAttempts: 8}

// validate rejects policies that can't be followed.
func (p RetryPolicy) validate() error {
	if p.Base <= 0 || p.Cap < p.Base || p.MaxAttempts < 1 || p.MaxAttempts > maxMaxAttempts {
		return errors.New("queue: the retry policy needs 0 < base <= cap and 1 to 1000 attempts")
	}
	return nil
}

// maxMaxAttempts keeps the attempts of a message far below those at which River
// gives up.
const maxMaxAttempts = 1000

// Delay returns the time from the failure of an attempt (1: the first) to the
// next one. random is uniform in [0, 1): with it, the delay is uniform between
// zero and Base·2^(attempt-1), at most Cap. Messages that failed together are
// retried apart.
func (p RetryPolicy) Delay(attempt int, random float64) time.Duration {
	most := p.Base
	for range attempt - 1 {
		if most >= p.Cap/2 {
			most = p.Cap
			break
		}
		most *= 2
	}
	return time.Duration(random * float64(min(most, p.Cap)))
}

// next is Delay with a random number.
func (p RetryPolicy) next(attempt int) time.Duration { return p.Delay(attempt, rand.Float64()) }
