package main

import (
	"math/rand/v2"
	"time"

	"ratelimiter/internal/queue"
)

// An outage: messages fail at its start, because a server that their handlers
// call is down. When it is up again, it answers one call at a time, and a call
// that has no answer in time has failed.
const (
	failing = 1000
	outage  = 10 * time.Second
	service = 10 * time.Millisecond // per call
	timeout = time.Second
)

// The picture begins and ends at these times.
const (
	shownFrom = 5 * time.Second
	shownTo   = 135 * time.Second
)

// retried is what becomes of the messages.
type retried struct {
	jitter         bool
	served, failed map[int]int // deliveries that begin in a second
	done, dead     int
	last           time.Duration // when the last message was done
}

// retries delivers the messages by the server's default policy, until each is
// done or a dead letter.
func retries(jitter bool) *retried {
	policy := queue.DefaultRetryPolicy
	random := rand.New(rand.NewPCG(1, 2))
	due := map[time.Duration][]int{0: make([]int, failing)} // by time: the attempts before, of each message
	r := &retried{jitter: jitter, served: map[int]int{}, failed: map[int]int{}}
	free := outage // when the server takes the next call
	for now := time.Duration(0); r.done+r.dead < failing; now += service {
		second := int(now / time.Second)
		for _, attempts := range due[now] {
			failure := now // it answers at once that it is down
			if now >= outage {
				free, failure = max(free, now), now+timeout
				if free+service <= failure {
					free += service
					r.served[second]++
					r.done, r.last = r.done+1, max(r.last, free)
					continue
				}
			}
			r.failed[second]++
			attempts++
			if attempts == policy.MaxAttempts {
				r.dead++
				continue
			}
			share := 1.0
			if jitter {
				share = random.Float64()
			}
			next := failure + max(service, policy.Delay(attempts, share).Truncate(service))
			due[next] = append(due[next], attempts)
		}
	}
	return r
}
