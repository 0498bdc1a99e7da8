package middleware

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// BuiltInRate limits routes that cost nothing. Rates of different names are counted
// separately.
type BuiltInRate struct {
	Name      string
	PerSecond int64
}

// BuiltInLimit takes one unit of the rate from the key's subject. It counts with
// limiter, which should not be shared; the key's quota is untouched.
func BuiltInLimit(limiter *ratelimit.Limiter, rate BuiltInRate) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota([]ratelimit.Policy{{
		Name: rate.Name, Algorithm: ratelimit.TokenBucket, Limit: rate.PerSecond, Period: ratelimit.Every(time.Second),
	}}, ratelimit.Subjects{})
	if err != nil {
		panic(err) // rates are constants
	}
	detail := fmt.Sprintf("This route costs nothing but is limited to %d requests a second.", rate.PerSecond)
	return func(c *gin.Context) {
		key := models.RequestFrom(c).Key
		quota := policy.For(ratelimit.Subjects{Key: key.Subject, Owner: key.Owner})
		var r ratelimit.Reservation
		if err := limiter.Reserve(c.Request.Context(), &r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: built-in limit: %w", models.ErrUnavailable, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{code: "rate_limited", cost: 1, detail: detail, violated: r.Decision.Violated(), retryAfter: wait})
			return
		}
		c.Next()
	}
}
