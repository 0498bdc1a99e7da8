package middleware

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// shortDeadline is a deadline that leaves enough of the server's write timeout, 30 s
// from the request on, to send the response.
const shortDeadline = 10 * time.Second

// sendTimeout is how long it may take to send the response after a longer one.
const sendTimeout = 20 * time.Second

// Deadline bounds how long a handler may wait for what it calls. It also stores
// the models.Request in the http.Request's context, where services find it.
func Deadline(d time.Duration) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := stateOf(c)
		if d > shortDeadline {
			_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(d + sendTimeout)) // unsupported by test recorders only
		}
		ctx := s.bound(c.Request.Context(), time.Now().Add(d))
		defer ctx.end()
		c.Request = c.Request.WithContext(ctx)
		c.Next()
	}
}

// Stream is Deadline for a route whose response has no end of its own if isStream
// reports that the client asks for a stream. Such a response has no deadline: the connection's write deadline
// is removed, so that the handler must set one for each write, and what the
// connection takes is bounded.
func Stream(otherwise time.Duration, isStream func(*http.Request) bool) gin.HandlerFunc {
	deadline := Deadline(otherwise)
	return func(c *gin.Context) {
		if !isStream(c.Request) {
			deadline(c)
			return
		}
		_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{}) // unsupported by test recorders only
		ctx := c.Request.Context()
		boundConnection(ctx)
		s := stateOf(c)
		s.endless, s.request.KeepSlots = true, s.keepSlots
		c.Request = c.Request.WithContext(s.bound(ctx, time.Time{}))
		c.Next()
	}
}
