package middleware

import "github.com/gin-gonic/gin"

// Default header values. They are shared by all responses and must not be
// changed.
var (
	contentPolicy = []string{"default-src 'self'"}
	noSniff       = []string{"nosniff"}
	noStore       = []string{"no-store"}
)

// Headers sets fields that keep browsers from interpreting responses as other
// types and shared caches from storing them.
func Headers() gin.HandlerFunc {
	return func(c *gin.Context) {
		header := c.Writer.Header()
		header["Content-Security-Policy"] = contentPolicy
		header["X-Content-Type-Options"] = noSniff
		header["Cache-Control"] = noStore
		c.Next()
	}
}
