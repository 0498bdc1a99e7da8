package middleware

import (
	"context"
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

// heavy limits the requests of a key that read much: to half of the connections
// that administrative requests may hold at once.
var heavy = []ratelimit.Policy{{Name: "heavy", Algorithm: ratelimit.Concurrency, Limit: 3}}

// BuiltInLimit takes one unit of the built-in policy from the key's subject. It
// counts with limiter, which should not be shared; the key's quota is untouched.
func BuiltInLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	take := takerOf(limiter, builtIn, "This route costs nothing but is limited to 50 requests a second.")
	return func(c *gin.Context) {
		var r ratelimit.Reservation
		if take(c, &r) {
			c.Next()
		}
	}
}

// HeavyLimit lets a key's subject have few requests at once to the routes that
// read much. It counts with limiter, like BuiltInLimit.
func HeavyLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	take := takerOf(limiter, heavy, "Requests that read much are limited to 3 at once for each key.")
	return func(c *gin.Context) {
		var r ratelimit.Reservation
		if take(c, &r) {
			defer func() { _ = r.Release(context.Background()) }() // a store in memory doesn't fail
			c.Next()
		}
	}
}

// takerOf returns a function that takes one unit of the policies from the key's
// subject, or fails the request with detail.
func takerOf(limiter *ratelimit.Limiter, policies []ratelimit.Policy, detail string) func(*gin.Context, *ratelimit.Reservation) bool {
	policy, err := ratelimit.NewQuota(policies, ratelimit.Subjects{})
	if err != nil {
		panic(err) // the policies above are constants
	}
	return func(c *gin.Context, r *ratelimit.Reservation) bool {
		quota := policy.For(ratelimit.Subjects{Key: models.RequestFrom(c).Key.Subject})
		if err := limiter.Reserve(c.Request.Context(), r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: built-in limit: %w", models.ErrUnavailable, err))
			return false
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{code: "rate_limited", cost: 1, detail: detail, violated: r.Decision.Violated(), retryAfter: wait})
			return false
		}
		return true
	}
}
