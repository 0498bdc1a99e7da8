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

// anonymous limits the requests of one address that need no key. A browser sends
// about ten for a page.
var anonymous = []ratelimit.Policy{{
	Name: "anonymous", Algorithm: ratelimit.TokenBucket, Limit: 100, Period: ratelimit.Every(time.Second),
}}

// BuiltInLimit takes one unit of the built-in policy from the key's subject. It
// counts with limiter, which should not be shared; the key's quota is untouched.
func BuiltInLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	return limitOne(limiter, builtIn, "This route costs nothing but is limited to 50 requests a second.",
		func(c *gin.Context) string { return models.RequestFrom(c).Key.Subject })
}

// AnonymousLimit takes one unit of the anonymous policy from the caller's address
// (IPv6: its /64). It counts with limiter, which should not be shared.
func AnonymousLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	return limitOne(limiter, anonymous, "Requests without a key are limited to 100 a second from one address.",
		siteText)
}

// limitOne takes one unit of a policy from a subject. A refusal ends the request
// with a 429.
func limitOne(limiter *ratelimit.Limiter, policies []ratelimit.Policy, detail string, subject func(*gin.Context) string) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
	if err != nil {
		panic(err) // the policies above are constants
	}
	return func(c *gin.Context) {
		s := stateOf(c)
		r, quota := &s.reservation, &s.quota
		if s.limited { // they are in use
			r, quota = new(ratelimit.Reservation), new(ratelimit.Quota)
		}
		policy.Bind(quota, ratelimit.Subjects{Key: subject(c)})
		if err := limiter.Reserve(c.Request.Context(), r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: %s limit: %w", models.ErrUnavailable, policies[0].Name, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{code: "rate_limited", cost: 1, detail: detail, violated: r.Decision.Violated(), retryAfter: wait})
			return
		}
		c.Next()
	}
}
