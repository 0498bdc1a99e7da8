package middleware

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// Require ends a request with a 403 when its key may not be used from where it
// comes, or doesn't hold scope, which is named then. The empty scope: any key
// will do. It stands behind Limit, so that trying costs.
func Require(scope models.Scope) gin.HandlerFunc {
	return func(c *gin.Context) {
		key := exchangeOf(c).request.Key
		if len(key.IPAllow) > 0 && !key.AllowsAddress(clientAddress(c)) {
			Fail(c, &models.StatusError{Status: http.StatusForbidden, Detail: "This API key may not be used from this address."})
			return
		}
		if scope != "" && !key.Has(scope) {
			Fail(c, &models.StatusError{
				Status: http.StatusForbidden,
				Detail: fmt.Sprintf("This needs the scope %s, which the API key doesn't hold.", scope),
			})
			return
		}
		c.Next()
	}
}
