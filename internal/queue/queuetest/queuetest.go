// Package queuetest is the conformance suite of transports: what the queue promises
// must hold with every one of them, on a real server that is killed and paused.
package queuetest

import (
	"testing"

	"ratelimiter/internal/queue"
)

// Broker is a real server and how its transport is made. Without New, messages stay
// in Postgres.
type Broker struct {
	// New returns a transport with connections of its own. Those with the same
	// prefix share queues. It is closed by the worker that it is given to.
	New func(t testing.TB, prefix string) queue.Transport
	// Send puts a body into the queue of a group as any other program could.
	Send func(t testing.TB, prefix, group string, body []byte)
	// Server is the process.
	Server Server
	// Ordered says that messages of a key that were published one after another are
	// received one after another.
	Ordered bool
}

// Server is a process that can be made to fail.
type Server interface {
	Kill()     // ends it at once
	Start()    // starts it again, and waits until it serves
	Pause()    // makes it hang
	Continue() // ends a Pause
}
