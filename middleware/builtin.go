package middleware

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// builtIn limits the routes that cost nothing and that every key may call.
var builtIn = []ratelimit.Policy{{
	Name: "built-in", Algorithm: ratelimit.TokenBucket, Limit: 50, Period: ratelimit.Every(time.Second),
}}

// BuiltInLimit takes one unit of the built-in policy from the key's subject. It
// counts with limiter, which should not be shared; the key's quota is untouched.
func BuiltInLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota(builtIn, ratelimit.Subjects{})
	if err != nil {
		panic(err) // the policy above is a constant
	}
	return func(c *gin.Context) {
		quota := policy.For(ratelimit.Subjects{Key: models.RequestFrom(c).Key.Subject})
		var r ratelimit.Reservation
		if err := limiter.Reserve(c.Request.Context(), &r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: built-in limit: %w", models.ErrUnavailable, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{
				code: "rate_limited", cost: 1,
				detail:     "This route costs nothing but is limited to 50 requests a second.",
				violated:   r.Decision.Violated(),
				retryAfter: wait,
			})
			return
		}
		c.Next()
	}
}
