package middleware

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// settleTimeout bounds how long a refund may take: it runs after the caller's
// own context may have ended.
const settleTimeout = time.Second

// Limit takes the route's cost from the policies of the key's quota that apply to
// its group, all or nothing, before the handler runs. A refusal ends the request
// with a 429. What came of it is told to recorder, which may be nil.
// Policies that don't count every outcome are refunded when the status is
// written, and the RateLimit fields tell the result.
func Limit(limiter *ratelimit.Limiter, fields Fields, route *models.Route, recorder Recorder) gin.HandlerFunc {
	return func(c *gin.Context) {
		e := exchangeOf(c)
		e.fields, e.route, e.recorder = fields, route, recorder
		ctx := c.Request.Context()
		if err := limiter.Reserve(ctx, &e.reservation, e.quota, string(route.Group), route.Cost); err != nil {
			Fail(c, fmt.Errorf("%w: limiter: %w", models.ErrUnavailable, err))
			return
		}
		e.limited = true
		if !e.reservation.Decision.Allowed {
			Fail(c, refusal(&e.reservation.Decision))
			return
		}
		if wait := e.reservation.Decision.Wait; wait > maxQueueing {
			_ = e.reservation.Release(ctx) // a failed refund leaves the caller charged
			Fail(c, &models.LimitedError{Detail: "The queue is too long to wait in.", Violated: queues(&e.reservation.Decision), RetryAfter: wait - maxQueueing})
			return
		}
		if err := e.reservation.Wait(ctx); err != nil {
			Fail(c, fmt.Errorf("wait for a turn: %w", err))
			return
		}
		if hold := e.reservation.Hold(); hold > 0 {
			defer keepSlots(&e.reservation, hold)()
		}
		c.Next()
	}
}

// release frees the slots of concurrency policies when the request has ended.
// The error says that there were none, or that the store failed: then the slot
// frees itself after its hold.
func (e *exchange) release() {
	if e.limited && e.reservation.Decision.Allowed {
		_ = e.reservation.Release(context.Background())
	}
}

// maxQueueing is how long a request waits in leaky buckets at most, whatever
// their max_wait: net/http notices a caller who hangs up only when the body was
// read, and cuts requests off at the server's time-outs.
const maxQueueing = 10 * time.Second

// queues names the leaky buckets of a decision.
func queues(d *ratelimit.Decision) []string {
	var names []string
	for _, s := range d.Statuses() {
		if s.Policy.Algorithm == ratelimit.LeakyBucket {
			names = append(names, s.Policy.Name)
		}
	}
	return names
}

// refusal tells a refused decision as an error.
func refusal(d *ratelimit.Decision) error {
	violated := d.Violated()
	wait, ever := d.RetryAfter()
	detail := "The quota is used up for now."
	if !ever {
		wait, detail = 0, "This request costs more than the quota can ever hold."
	}
	return &models.LimitedError{Detail: detail, Violated: violated, RetryAfter: wait}
}

// settle tells the limiter how the request ended, once, before its header is
// sent, and sets the RateLimit fields of what the policies then say.
func (e *exchange) settle() {
	if !e.limited || e.settled {
		return
	}
	e.settled = true
	ctx := context.Background()
	if e.outcome() != ratelimit.Succeeded { // then there is something to give back
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, settleTimeout)
		defer cancel()
	}
	// A failed refund leaves the caller charged; the answer stands either way.
	_ = e.reservation.SettleUnits(ctx, e.outcome())
	if e.fields != FieldsLegacy {
		e.setDraftFields()
	}
	if e.fields != FieldsDraft11 {
		e.setLegacyFields()
	}
}

// outcome tells the answer as what policies charge for: 101 to 399 are
// successes, but for one that was given before, which is charged as a request
// and no more.
func (e *exchange) outcome() ratelimit.Outcome {
	switch status := e.Status(); {
	case status >= http.StatusInternalServerError:
		return ratelimit.Failed
	case status >= http.StatusBadRequest || e.request.Replayed:
		return ratelimit.Rejected
	default:
		return ratelimit.Succeeded
	}
}
