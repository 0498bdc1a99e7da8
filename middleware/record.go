package middleware

import (
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Recorder is told of every request that a key made and the limiter decided.
type Recorder interface {
	// Record is called once a request, when it has ended, with its route, when
	// it came, how it ended and what was decided. It must not wait, and it must
	// not keep the decision, which is used again.
	Record(request *models.Request, route *models.Route, at time.Time, outcome ratelimit.Outcome, decision *ratelimit.Decision)
}

// record tells the recorder how the request ended.
func (e *exchange) record() {
	if e.limited && e.recorder != nil {
		e.recorder.Record(&e.request, e.route, e.started, e.outcome(), &e.reservation.Decision)
	}
}
