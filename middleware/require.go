package middleware

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Require rejects a request with 403 when its key may not be used from the
// caller's address, or doesn't hold scope; the empty scope allows any key. It
// comes after Limit, so that rejected requests are charged.
func Require(scope models.Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		key := models.RequestFrom(c).Key
		if len(key.IPAllow) > 0 && !key.AllowsAddress(clientAddress(c)) {
			Fail(c, &httpError{http.StatusForbidden, "This API key may not be used from this address."})
			return
		}
		if scope != "" && !key.Has(scope) {
			Fail(c, &httpError{
				http.StatusForbidden,
				fmt.Sprintf("This requires the scope %s, which the API key does not hold.", scope),
			})
			return
		}
		c.Next()
	}
}
