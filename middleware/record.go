package middleware

import (
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Recorder records the requests that the limiter decided.
type Recorder interface {
	// Record is called once per request, when it has ended. It must not block,
	// and must not keep the decision, which is reused.
	Record(request *models.Request, route *models.Route, at time.Time, outcome ratelimit.Outcome, decision *ratelimit.Decision)
}

// record reports the ended request to the recorder.
func (s *requestState) record() {
	if s.limited && s.recorder != nil {
		s.recorder.Record(&s.request, s.route, s.started, s.outcome(), &s.reservation.Decision)
	}
}
