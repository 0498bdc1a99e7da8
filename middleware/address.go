package middleware

import "github.com/gin-gonic/gin"

// NoteAddress puts the caller's address into the request, for the audit. It
// stands only where something may be audited: the other routes needn't pay for
// finding it out.
func NoteAddress() gin.HandlerFunc {
	return func(c *gin.Context) {
		exchangeOf(c).request.Address = clientAddress(c)
		c.Next()
	}
}
