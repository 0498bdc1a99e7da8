package queue

import (
	"context"
	"errors"
)

// Transport is a message broker that brings messages from one instance to the
// handlers of another. It keeps a queue for each group: a message is delivered to
// one consumer of the group, at least once. It may lose order; it may not lose what
// it has confirmed. It is safe for concurrent use.
//
// A transport counts no attempts and delays nothing. The job of a message in
// Postgres publishes it (relay) and is completed when the transport has confirmed
// it. The consumer acknowledges it when its outcome is committed in Postgres: the
// effect, a job for the next attempt, or a dead letter. So attempts, history,
// backoff and dead letters are the same with every transport.
type Transport interface {
	// Prepare connects, creates what is missing for the groups, and checks it. It
	// returns an error that wraps ErrMisconfigured if an operator must change
	// something, such as a permission or the arguments of an existing queue; any
	// other error means that the broker can't be reached now. It may be called
	// again.
	Prepare(ctx context.Context, groups []string) error
	// Publish returns nil when the broker has confirmed the message: it survives
	// the broker's restart.
	Publish(ctx context.Context, group string, m Outgoing) error
	// Consume takes messages of the group, calls receive with up to parallel of
	// them at once, and acknowledges each for which it returned nil. The others
	// are delivered again, as Redelivered. When ctx is done, Consume takes no more
	// messages, waits until all that it has taken were received (receive returns
	// soon then), acknowledges them and returns nil. It returns an error when the
	// connection is lost, after running calls have returned.
	Consume(ctx context.Context, group string, parallel int, receive func(Incoming) error) error
	// Waiting returns about how many messages of the group wait in the broker.
	Waiting(ctx context.Context, group string) (int64, error)
	// Close ends the connections. Nothing may be called after it.
	Close()
}

// Outgoing is a message on its way to a broker.
type Outgoing struct {
	ID   string
	Key  string // what the message is about; those of a key may be kept in order
	Body []byte // JSON
}

// Incoming is a message that a broker delivers.
type Incoming struct {
	Body []byte
	// Redelivered says that the message may have been delivered before, without an
	// acknowledgement: its consumer died, or the connection did. Every delivery that
	// follows such a one is marked.
	Redelivered bool
}

// ErrMisconfigured reports that a broker must be set up differently, or the
// settings be changed.
var ErrMisconfigured = errors.New("the broker is not set up as needed")
