package middleware

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Deadline bounds how long a handler may wait for what it calls. It also stores
// the models.Request in the http.Request's context, where services find it.
func Deadline(d time.Duration) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := stateOf(c)
		ctx, cancel := context.WithTimeout(c.Request.Context(), d)
		defer cancel()
		c.Request = c.Request.WithContext(s.contextIn(ctx))
		c.Next()
	}
}

// Stream prepares a response without an end of its own: it removes the
// connection's write deadline. It stores the models.Request as Deadline does.
func Stream() gin.HandlerFunc {
	return func(c *gin.Context) {
		_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{}) // unsupported by test recorders only
		s := stateOf(c)
		s.endless = true
		c.Request = c.Request.WithContext(s.contextIn(c.Request.Context()))
		c.Next()
	}
}
