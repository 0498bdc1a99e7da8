package middleware

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// settleTimeout bounds a refund, which may run after the request's context has
// ended.
const settleTimeout = time.Second

// Limit takes the route's cost from the policies of the key's quota that apply to
// its group, all or nothing, before the handler runs. A refusal ends the request
// with a 429. The outcome is reported to recorder, which may be nil. Policies
// that don't charge every outcome are refunded when the status is written; the
// RateLimit fields show the result.
func Limit(limiter *ratelimit.Limiter, fields Fields, route *models.Route, recorder Recorder) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := stateOf(c)
		s.fields, s.route, s.recorder = fields, route, recorder
		ctx := c.Request.Context()
		if err := limiter.ReserveAt(ctx, &s.reservation, s.request.Quota, string(route.Group), route.Cost, s.clock); err != nil {
			Fail(c, models.LimiterFailed(err))
			return
		}
		s.limited = true
		if !s.reservation.Decision.Allowed {
			Fail(c, refusal(&s.reservation.Decision, route.Cost))
			return
		}
		if err := s.reservation.Wait(ctx); err != nil {
			Fail(c, fmt.Errorf("wait for a turn: %w", err))
			return
		}
		if hold := s.reservation.Hold(); hold > 0 {
			s.renewer = renewSlots(&s.reservation, hold)
			defer func() {
				if !s.kept {
					s.renewer.stop()
				}
			}()
		}
		c.Next()
	}
}

// release frees the slots of concurrency policies when the request has ended. It
// ignores errors: there were no slots, or the store failed and they expire after
// their hold.
func (s *requestState) release() {
	if s.limited && s.reservation.Decision.Allowed && !s.kept {
		_ = s.reservation.Release(context.Background())
	}
}

// refusal returns the error of a decision that refused a request of this cost. It
// describes the policy that takes longest to allow the request.
func refusal(d *ratelimit.Decision, cost int64) error {
	wait, ever := d.RetryAfter()
	if !ever {
		wait = 0
	}
	return &limitedError{code: "rate_limited", detail: refusalDetail(d, cost), cost: cost, violated: d.Violated(), retryAfter: wait}
}

func refusalDetail(d *ratelimit.Decision, cost int64) string {
	var worst *ratelimit.Status
	statuses := d.Statuses()
	for i := range statuses {
		s := &statuses[i]
		longer := worst == nil || s.RetryAfter == ratelimit.Never || worst.RetryAfter != ratelimit.Never && s.RetryAfter > worst.RetryAfter
		if !s.Allowed && longer {
			worst = s
		}
	}
	if worst == nil {
		return "Rate limit exceeded."
	}
	return describeRefusal(worst, cost)
}

// describeRefusal describes the refusal of a request of this cost by one policy.
func describeRefusal(worst *ratelimit.Status, cost int64) string {
	var buffer [160]byte
	b := append(buffer[:0], "Rate limit exceeded: policy "...)
	b = strconv.AppendQuote(b, worst.Policy.Name)
	if worst.Policy.Algorithm == ratelimit.Concurrency {
		b = append(b, " allows "...)
		b = strconv.AppendInt(b, worst.Limit, 10)
		b = append(b, " requests at once, and that many are running."...)
	} else {
		b = append(b, " has "...)
		b = strconv.AppendInt(b, worst.Remaining, 10)
		b = append(b, " of "...)
		b = strconv.AppendInt(b, worst.Limit, 10)
		b = append(b, " units left; this request costs "...)
		b = strconv.AppendInt(b, cost, 10)
		b = append(b, '.')
	}
	if worst.RetryAfter == ratelimit.Never {
		return string(append(b, " It can never pass."...))
	}
	b = append(b, " Retry in "...)
	b = strconv.AppendInt(b, int64(roundUp(worst.RetryAfter, time.Second)/time.Second), 10)
	return string(append(b, " s."...))
}

// settle settles the reservation by the request's outcome, once, before the
// header is sent, and sets the RateLimit fields of the result.
func (s *requestState) settle() {
	if !s.limited || s.settled {
		return
	}
	s.settled = true
	if s.reservation.Decision.Allowed { // otherwise nothing was charged
		s.settleUnits(s.outcome())
	}
	if s.fields != FieldsLegacy {
		s.setDraftFields()
	}
	if s.fields != FieldsDraft11 {
		s.setLegacyFields()
	}
}

// settleUnits settles the reservation. If a refund fails, the caller stays charged.
func (s *requestState) settleUnits(outcome ratelimit.Outcome) {
	ctx := context.Background()
	if outcome != ratelimit.Succeeded { // there may be a refund
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, settleTimeout)
		defer cancel()
	}
	_ = s.reservation.SettleUnits(ctx, outcome)
}

// outcome classifies the response for charging. A replayed success is charged as
// a request only, and a free one not at all.
func (s *requestState) outcome() ratelimit.Outcome {
	switch status := s.Status(); {
	case status >= http.StatusInternalServerError, s.request.Free:
		return ratelimit.Failed
	case status >= http.StatusBadRequest || s.request.Replayed:
		return ratelimit.Rejected
	default:
		return ratelimit.Succeeded
	}
}
