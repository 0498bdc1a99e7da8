package middleware

import "github.com/gin-gonic/gin"

// RecordAddress stores the caller's address in the request, for the audit. Only
// routes that may be audited need it.
func RecordAddress() gin.HandlerFunc {
	return func(c *gin.Context) {
		stateOf(c).request.Address = clientAddress(c)
		c.Next()
	}
}
