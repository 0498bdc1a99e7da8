package queue

import (
	"errors"
	"time"
)

// permanentError is an error that no retry resolves.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks the error of a handler as one that no retry resolves: its
// message becomes a dead letter at once.
func Permanent(err error) error { return permanentError{err} }

// postponedError delays a delivery.
type postponedError struct {
	error
	after time.Duration
}

func (e postponedError) Unwrap() error { return e.error }

// Postpone marks the error of a handler as one that isn't the message's fault,
// such as an open circuit breaker: the message is delivered again after the
// time given, and the attempt isn't counted.
func Postpone(after time.Duration, err error) error { return postponedError{err, after} }

var (
	// ErrInterrupted reports that a delivery ended without an outcome, because
	// the instance stops, the group is paused, or another delivery of the message
	// has taken over. The transport delivers it again; the attempt isn't counted.
	ErrInterrupted = errors.New("queue: the delivery was interrupted")
	// errPaused is ErrInterrupted because of a paused group.
	errPaused = interruption("queue: the group is paused")
	// errSuperseded is ErrInterrupted because of another delivery.
	errSuperseded = interruption("queue: another delivery of the message has taken over")
)

// interruption is a reason for ErrInterrupted.
type interruption string

func (e interruption) Error() string { return string(e) }

// Is reports whether target is ErrInterrupted.
func (e interruption) Is(target error) bool { return target == ErrInterrupted }
