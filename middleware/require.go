package middleware

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Require ends a request with a 403 that names scope when its key doesn't hold
// it. The empty scope: any key will do.
func Require(scope models.Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		if scope != "" && !exchangeOf(c).request.Key.Has(scope) {
			Fail(c, &models.StatusError{
				Status: http.StatusForbidden,
				Detail: fmt.Sprintf("This needs the scope %s, which the API key doesn't hold.", scope),
			})
			return
		}
		c.Next()
	}
}
