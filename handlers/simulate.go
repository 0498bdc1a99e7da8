package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// simulateKey is what POST /v1/admin/keys/{id}/simulate takes.
type simulateKey struct {
	ID   string            `uri:"id"`
	Body simulationRequest `body:"required"`
}

// simulationRequest is a quota to try, and on what.
//
// It is the body of POST /v1/admin/keys/{id}/simulate.
type simulationRequest struct {
	Policies policyList    `json:"policies" validate:"required" maxItems:"16"`                           // the quota to try
	From     *binding.Time `json:"from" swaggertype:"string" format:"date-time" extensions:"x-nullable"` // from when on; a day before to if left out
	To       *binding.Time `json:"to" swaggertype:"string" format:"date-time" extensions:"x-nullable"`   // until when; now if left out

	now time.Time
}

// Bounds of the range: usage by second is kept for a week, and an hour longer so
// that a request for a whole week has time.
const (
	maxReplayed    = 7 * 24 * time.Hour
	maxReplayedAge = maxReplayed + time.Hour
)

// Validate checks the range of time.
func (s *simulationRequest) Validate(faults *models.Faults) {
	switch from, to := s.timeRange(); {
	case !from.Before(to):
		faults.Add("range", "must be before to", "from")
	case to.Sub(from) > maxReplayed:
		faults.Add("range", "must be at most 7 days before to", "from")
	case from.Before(s.now.Add(-maxReplayedAge)):
		faults.Add("min", "must be within the last 7 days, for which usage by second is kept", "from")
	}
}

func (s *simulationRequest) timeRange() (from, to time.Time) {
	return timeRange(s.From.Std(), s.To.Std(), s.now)
}

// Simulation is what other policies would have done with what a key sent.
type Simulation struct {
	Requests       int64                   `json:"requests" minimum:"0" example:"10432"`                // in all, those included that were refused when they were sent
	WouldRefuse    int64                   `json:"would_refuse" minimum:"0" example:"312"`              // how many of them would have been refused
	FirstRefusalAt *time.Time              `json:"first_refusal_at" example:"2026-01-15T09:30:00Z"`     // when the first would have been refused, to the second; null: none
	ByPolicy       map[string]int64        `json:"by_policy" minimum:"0" exampleJSON:"{\"burst\":312}"` // how many each refuses, or would in shadow mode; one request can be refused by several
	Timeline       []models.SimulatedUsage `json:"timeline"`                                            // the buckets with requests, oldest first
	Resolution     string                  `json:"resolution" example:"1s"`                             // how exactly it is known when a request came
}

// resolution is the resolution of recorded usage.
const resolution = "1s"

// Simulate handles POST /v1/admin/keys/{id}/simulate.
//
//	@Summary		Try a quota on what a key sent
//	@Description	Replays what the key sent, by the second, against the policies given, with the same engine that decides requests: how many would have been refused, when first, and by which policy. What was refused then counts as sent, and as a success. Counters start fresh an hour before the range. Only this key's requests count, also for policies per owner. Concurrency can't be simulated, for it isn't recorded how long requests ran. At most 7 days and 2,000,000 requests at a time. Changes nothing.
//	@Tags			keys
//	@ID				simulateKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string		true	"The key's id"	example(9Kx2mV4tQaLp)
//	@Param			simulation	body		simulationRequest	true	"The policies, and when"
//	@Success		200			{object}	Simulation
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/keys/{id}/simulate [post]
func (h *Usage) Simulate(c *gin.Context) {
	if in, ok := bind(c, simulateKey{Body: simulationRequest{now: time.Now()}}); ok {
		result, err := h.simulate(c.Request.Context(), in)
		respond(c, http.StatusOK, Simulation{
			Requests: result.Requests, WouldRefuse: result.WouldRefuse, FirstRefusalAt: result.FirstRefusalAt,
			ByPolicy: result.ByPolicy, Timeline: result.Timeline, Resolution: resolution,
		}, err)
	}
}

func (h *Usage) simulate(ctx context.Context, in simulateKey) (models.Simulation, error) {
	if err := h.usage.Exists(ctx, in.ID); err != nil {
		return models.Simulation{}, err
	}
	from, to := in.Body.timeRange()
	return h.usage.Simulate(ctx, in.ID, in.Body.Policies, from, to)
}
