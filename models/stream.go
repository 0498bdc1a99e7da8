package models

import "context"

// StreamEnd is why the server ends an open event stream. It is also the reason in
// the close frame of a WebSocket.
type StreamEnd string

// The reasons. Those of keys have the codes of the problems that a request with
// the key gets from then on.
const (
	StreamLifetime          StreamEnd = "lifetime"            // it was open for its maximum lifetime
	StreamShutdown          StreamEnd = "shutdown"            // the instance stops
	StreamSlowReader        StreamEnd = "slow_reader"         // the client didn't read in time
	StreamUnanswered        StreamEnd = "unanswered"          // the client didn't answer a ping in time
	StreamKeyInvalid        StreamEnd = "key_invalid"         // the key was revoked or has expired
	StreamKeySuspended      StreamEnd = "key_suspended"       // the key was suspended
	StreamScopeMissing      StreamEnd = "scope_missing"       // the key lost the scope
	StreamAddressNotAllowed StreamEnd = "address_not_allowed" // the key may not be used from this address any more
	StreamOwnerChanged      StreamEnd = "owner_changed"       // the key belongs to another owner
	StreamCursorExpired     StreamEnd = "cursor_expired"      // the events that come next were deleted
	StreamFailed            StreamEnd = "internal_error"      // the events can't be read
)

// Error returns the reason.
func (e StreamEnd) Error() string { return string(e) }

// Stream is an open event stream.
type Stream struct {
	// Context is done when the stream has to end. Its cause is a StreamEnd, unless
	// its client ended it.
	context.Context
	// End ends the context. Later calls do nothing.
	End func(cause error)
	// Close gives the stream's place back. It must be called when the connection is
	// closed, with the reason: a StreamEnd, or any other error if the client ended it.
	Close func(reason error)
}
