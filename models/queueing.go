package models

import (
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

// maxQueueing bounds how long a request waits in a leaky_bucket queue of its key,
// regardless of max_wait: net/http detects a closed connection only after the body
// was read, and ends requests at the server's timeouts.
const maxQueueing = 10 * time.Second

// BoundQueues returns the policies of a key as the server applies them to
// requests: with queues of at most 10 s.
func BoundQueues(policies []ratelimit.Policy) []ratelimit.Policy {
	bounded := slices.Clone(policies)
	for i := range bounded {
		if wait, ok := bounded[i].MaxWait.Duration(); ok && wait > maxQueueing {
			bounded[i].MaxWait = ratelimit.Every(maxQueueing)
		}
	}
	return bounded
}
