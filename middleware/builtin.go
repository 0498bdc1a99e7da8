package middleware

import (
	"context"
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
	return limitOne(limiter, rate.policy(), fmt.Sprintf("This route costs nothing but is limited to %d requests a second.", rate.PerSecond), keySubjects)
}

// AnonymousLimit takes one unit of the anonymous rate from the caller's address
// (IPv6: its /64). It counts with limiter, which should not be shared.
func AnonymousLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	return limitOne(limiter, anonymous.policy(), fmt.Sprintf("Requests without a key are limited to %d a second from one address.", anonymous.PerSecond),
		func(c *gin.Context) ratelimit.Subjects { return ratelimit.Subjects{Key: siteText(c)} })
}

// heavy limits the requests of a key that read much: to half of the connections
// that administrative requests may hold at once.
var heavy = ratelimit.Policy{Name: "heavy", Algorithm: ratelimit.Concurrency, Limit: 3}

// HeavyLimit lets a key's subject have few requests at once to the routes that
// read much. It counts with limiter, like BuiltInLimit.
func HeavyLimit(limiter *ratelimit.Limiter) gin.HandlerFunc {
	return limitOne(limiter, heavy, fmt.Sprintf("Requests that read much are limited to %d at once for each key.", heavy.Limit), keySubjects)
}

func keySubjects(c *gin.Context) ratelimit.Subjects {
	key := models.RequestFrom(c).Key
	return ratelimit.Subjects{Key: key.Subject, Owner: key.Owner}
}

// policy returns the rate as a policy.
func (r BuiltInRate) policy() ratelimit.Policy {
	return ratelimit.Policy{Name: r.Name, Algorithm: ratelimit.TokenBucket, Limit: r.PerSecond, Period: ratelimit.Every(time.Second)}
}

// limitOne takes one unit of a policy from a subject. A refusal ends the request
// with a 429.
func limitOne(limiter *ratelimit.Limiter, p ratelimit.Policy, detail string, subjects func(*gin.Context) ratelimit.Subjects) gin.HandlerFunc {
	policy, err := ratelimit.NewQuota([]ratelimit.Policy{p}, ratelimit.Subjects{})
	if err != nil {
		panic(err) // the policies are constants
	}
	return func(c *gin.Context) {
		s := stateOf(c)
		r, quota := &s.reservation, &s.quota
		if s.limited { // they are in use
			r, quota = new(ratelimit.Reservation), new(ratelimit.Quota)
		}
		policy.Bind(quota, subjects(c))
		if err := limiter.Reserve(c.Request.Context(), r, quota, "", 1); err != nil {
			Fail(c, fmt.Errorf("%w: %s limit: %w", models.ErrUnavailable, p.Name, err))
			return
		}
		if wait, _ := r.Decision.RetryAfter(); !r.Decision.Allowed {
			Fail(c, &limitedError{code: "rate_limited", cost: 1, detail: detail, violated: r.Decision.Violated(), retryAfter: wait})
			return
		}
		if r.Hold() > 0 { // a concurrency policy
			defer func() { _ = r.Release(context.Background()) }() // a store in memory doesn't fail
		}
		c.Next()
	}
}
