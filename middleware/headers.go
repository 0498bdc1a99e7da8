package middleware

import "github.com/gin-gonic/gin"

// Values of header fields that every answer has, unless its handler sets
// others: shared by all answers, so never to be changed.
var (
	contentPolicy = []string{"default-src 'self'"}
	noSniff       = []string{"nosniff"}
	noStore       = []string{"no-store"}
)

// Headers keeps browsers from running what they should only show, and shared
// caches from keeping what is one caller's.
func Headers() gin.HandlerFunc {
	return func(c *gin.Context) {
		header := c.Writer.Header()
		header["Content-Security-Policy"] = contentPolicy
		header["X-Content-Type-Options"] = noSniff
		header["Cache-Control"] = noStore
		c.Next()
	}
}
