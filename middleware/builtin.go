package middleware

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// builtIn is what a subject may do on routes that cost nothing and that every
// key may call: enough to look again and again, and no more than the server can
// bear of everybody.
var builtIn = []ratelimit.Policy{{
	Name: "built-in", Algorithm: ratelimit.TokenBucket, Limit: 50, Period: ratelimit.Every(time.Second),
}}

// BuiltInLimit takes one unit of the built-in policy of the key's subject. It
// counts with limiter, which should be its own; the key's quota stays as it is.
func BuiltInLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota(builtIn, ratelimit.Subjects{})
	if err != nil {
		panic(err) // the policy above is a constant
	}
	return func(c *gin.Context) {
		quota := policy.For(ratelimit.Subjects{Key: exchangeOf(c).request.Key.Subject})
		var r ratelimit.Reservation
		if err := limiter.Reserve(c.Request.Context(), &r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: built-in limit: %w", models.ErrUnavailable, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &models.LimitedError{
				Detail:     "Looking costs nothing, but not more often than 50 times a second.",
				Violated:   r.Decision.Violated(),
				RetryAfter: wait,
			})
			return
		}
		c.Next()
	}
}
