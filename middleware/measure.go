package middleware

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/ratelimit"
)

// Meter counts what requests come to. Its methods must be fast, must not block,
// and are called concurrently.
type Meter interface {
	// Request is called once per request, when it has ended. route is the path as
	// gin spells it, empty for an unknown one; method is any text. took is
	// negative for a stream, whose duration is its client's choice.
	Request(method, route string, status int, took time.Duration)
	// Decision is called with the final decision of each request that costs
	// something. It must not keep the decision, which is reused.
	Decision(*ratelimit.Decision)
	// AuthenticationFailed is called with the code of the problem that a request
	// without a usable key gets.
	AuthenticationFailed(code string)
}

// Measure reports requests to meter.
func Measure(meter Meter) gin.HandlerFunc {
	return func(c *gin.Context) {
		stateOf(c).meter = meter
		c.Next()
	}
}

// measure reports the ended request to the meter.
func (s *requestState) measure(c *gin.Context) {
	if s.meter == nil {
		return
	}
	took := time.Since(s.started)
	if s.endless {
		took = -1
	}
	s.meter.Request(c.Request.Method, c.FullPath(), s.Status(), took)
	if s.limited && s.route.Cost > 0 {
		s.meter.Decision(&s.reservation.Decision)
	}
}

// failAuthentication ends a request without a usable key.
func failAuthentication(c *gin.Context, s *requestState, err error) {
	if s.meter != nil {
		if p := problemFor(c.Request.Context(), err); p.status < http.StatusInternalServerError && p.status != statusClientClosedRequest {
			s.meter.AuthenticationFailed(p.code)
		}
	}
	Fail(c, err)
}
