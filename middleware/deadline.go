package middleware

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Deadline bounds how long a handler may wait for what it calls: a database
// that hangs must not hold its callers for longer. It also lets
// models.RequestFrom find the request in the context of the http.Request, for
// services that write down who asked.
func Deadline(d time.Duration) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx, cancel := context.WithTimeout(models.WithRequest(c.Request.Context(), models.RequestFrom(c)), d)
		defer cancel()
		c.Request = c.Request.WithContext(ctx)
		c.Next()
	}
}
