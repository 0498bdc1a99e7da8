package middleware

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Require rejects a request with 403 when its key doesn't hold scope; the empty
// scope allows any key. It comes after Limit, so that rejected requests are
// charged.
func Require(scope models.Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		if scope != "" && !stateOf(c).request.Key.Has(scope) {
			Fail(c, &httpError{
				http.StatusForbidden, "scope_missing",
				fmt.Sprintf("This requires the scope %s, which the API key does not hold.", scope),
			})
			return
		}
		c.Next()
	}
}
