package middleware

import (
	"context"
	"sync"
	"time"

	"ratelimiter/models"
)

// requestContext is the context of a request, in which models.RequestFrom finds the
// request. It ends with its parent, at its deadline, and when end is called. The
// deadline's timer, and what else it takes to wait for the end, is made when Done is
// first called: most handlers find what they need in memory and don't wait.
type requestContext struct {
	context.Context // the parent
	request         *models.Request
	deadline        time.Time // zero: it ends with its parent only

	mu     sync.Mutex
	timed  context.Context // child of the parent with the deadline; nil until it is needed
	cancel context.CancelFunc
	ended  bool // end was called
}

// Deadline returns the parent's deadline or the own one, whichever is earlier.
func (c *requestContext) Deadline() (time.Time, bool) {
	if c.deadline.IsZero() {
		return c.Context.Deadline()
	}
	if parents, ok := c.Context.Deadline(); ok && parents.Before(c.deadline) {
		return parents, true
	}
	return c.deadline, true
}

// Done returns the channel that is closed at the end.
func (c *requestContext) Done() <-chan struct{} { return c.waitable().Done() }

// Err returns why the context has ended, or nil.
func (c *requestContext) Err() error {
	c.mu.Lock()
	open := c.timed == nil && !c.ended && (c.deadline.IsZero() || time.Now().Before(c.deadline))
	c.mu.Unlock()
	if open {
		return c.Context.Err()
	}
	return c.waitable().Err()
}

// waitable returns the context that ends when this one does.
func (c *requestContext) waitable() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
	case c.deadline.IsZero():
		c.timed = c.Context
	case c.ended:
		c.timed, c.cancel = context.WithCancel(c.Context)
		c.cancel()
	default:
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
	}
	return c.timed
}

// end ends the context, as the function that context.WithDeadline returns does.
func (c *requestContext) end() {
	c.mu.Lock()
	cancel := c.cancel
	c.ended = true
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Value returns the request for models.RequestKey. Package context finds its own
// kind of context in timed, so that contexts derived from this one end with it and
// need no goroutine.
func (c *requestContext) Value(key any) any {
	if key == models.RequestKey {
		return c.request
	}
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}
