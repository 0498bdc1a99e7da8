package middleware

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// BuiltInRate is a limit that is in no quota. Rates of different names are counted
// separately.
type BuiltInRate struct {
	Name      string
	PerSecond int64
}

// anonymous limits the requests of one address that need no key. A browser sends
// about ten for a page.
var anonymous = BuiltInRate{Name: "anonymous", PerSecond: 100}

// BuiltInLimit takes one unit of the rate from the key's subject. It counts with
// limiter, which should not be shared; the key's quota is untouched.
func BuiltInLimit(limiter *ratelimit.Limiter, rate BuiltInRate) gin.HandlerFunc {
	return limitOne(limiter, rate, fmt.Sprintf("This route costs nothing but is limited to %d requests a second.", rate.PerSecond),
		func(c *gin.Context) ratelimit.Subjects {
			key := models.RequestFrom(c).Key
			return ratelimit.Subjects{Key: key.Subject, Owner: key.Owner}
		})
}

// AnonymousLimit takes one unit of the anonymous rate from the caller's address
// (IPv6: its /64). It counts with limiter, which should not be shared.
func AnonymousLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	return limitOne(limiter, anonymous, fmt.Sprintf("Requests without a key are limited to %d a second from one address.", anonymous.PerSecond),
		func(c *gin.Context) ratelimit.Subjects { return ratelimit.Subjects{Key: siteText(c)} })
}

// limitOne takes one unit of a rate from a subject. A refusal ends the request
// with a 429.
func limitOne(limiter *ratelimit.Limiter, rate BuiltInRate, detail string, subjects func(*gin.Context) ratelimit.Subjects) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota([]ratelimit.Policy{{
		Name: rate.Name, Algorithm: ratelimit.TokenBucket, Limit: rate.PerSecond, Period: ratelimit.Every(time.Second),
	}}, ratelimit.Subjects{})
	if err != nil {
		panic(err) // rates are constants
	}
	return func(c *gin.Context) {
		s := stateOf(c)
		r, quota := &s.reservation, &s.quota
		if s.limited { // they are in use
			r, quota = new(ratelimit.Reservation), new(ratelimit.Quota)
		}
		policy.Bind(quota, subjects(c))
		if err := limiter.Reserve(c.Request.Context(), r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: %s limit: %w", models.ErrUnavailable, rate.Name, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{code: "rate_limited", cost: 1, detail: detail, violated: r.Decision.Violated(), retryAfter: wait})
			return
		}
		c.Next()
	}
}
