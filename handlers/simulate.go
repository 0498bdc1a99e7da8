package handlers

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// simulateKey is the input of POST /v1/admin/keys/{id}/simulate.
type simulateKey struct {
	ID   string             `uri:"id"`
	Body simulateKeyRequest `body:"required"`
}

// simulateKeyRequest is a quota to simulate, and a range of time.
//
// It is the body of POST /v1/admin/keys/{id}/simulate.
type simulateKeyRequest struct {
	Policies policyList    `json:"policies" validate:"required" maxItems:"16"`                           // quota to simulate
	From     *binding.Time `json:"from" swaggertype:"string" format:"date-time" extensions:"x-nullable"` // start of the range; by default a day before to
	To       *binding.Time `json:"to" swaggertype:"string" format:"date-time" extensions:"x-nullable"`   // end of the range; by default now

	now time.Time
}

// Bounds of the range: usage by second is kept for a week, and an hour longer so
// that a request for a whole week has time.
const (
	maxReplayed    = 7 * 24 * time.Hour
	maxReplayedAge = maxReplayed + time.Hour
)

// Validate checks the range of time.
func (s *simulateKeyRequest) Validate(faults *models.Faults) {
	switch from, to := s.timeRange(); {
	case !from.Before(to):
		faults.Add("range", "must be before to", "from")
	case to.Sub(from) > maxReplayed:
		faults.Add("range", "must be at most 7 days before to", "from")
	case from.Before(s.now.Add(-maxReplayedAge)):
		faults.Add("min", "must be within the last 7 days, for which usage by second is kept", "from")
	}
}

func (s *simulateKeyRequest) timeRange() (from, to time.Time) {
	return timeRange(s.From.Std(), s.To.Std(), s.now)
}

// Simulation is the result of replaying the requests of a key against other
// policies.
type Simulation struct {
	Requests       int64                   `json:"requests" minimum:"0" example:"10432"`                // all requests, including those that were refused
	WouldRefuse    int64                   `json:"would_refuse" minimum:"0" example:"312"`              // requests that would have been refused
	FirstRefusalAt *time.Time              `json:"first_refusal_at" example:"2026-01-15T09:30:00Z"`     // when the first request would have been refused, to the second; null: none
	ByPolicy       map[string]int64        `json:"by_policy" minimum:"0" exampleJSON:"{\"burst\":312}"` // refusals by policy, including shadow policies; several policies can refuse one request
	Timeline       []models.SimulatedUsage `json:"timeline"`                                            // buckets with requests, oldest first
	Resolution     string                  `json:"resolution" example:"1s"`                             // resolution of the recorded usage
}

// resolution is the resolution of recorded usage.
const resolution = "1s"

// Simulate handles POST /v1/admin/keys/{id}/simulate.
//
//	@Summary		Simulate a quota
//	@Description	Replays the recorded requests of the key, by the second, against the given policies, with the engine that decides requests. The result shows how many requests would have been refused, when first, and by which policy. Requests that were refused are replayed as successes. Counters start unspent one hour before the range. Only requests of this key are replayed, even for policies per owner. Concurrency can't be simulated because the duration of requests isn't recorded. At most 7 days and 2,000,000 requests are replayed. Nothing is changed.
//	@Tags			keys
//	@ID				simulateKey
//	@Accept			json
//	@Produce		json
//	@Param			id			path		string		true	"Key id"	example(9Kx2mV4tQaLp)
//	@Param			simulation	body		simulateKeyRequest	true	"Policies and range of time"
//	@Success		200			{object}	Simulation
//	@Failure		400			{object}	middleware.Problem
//	@Failure		404			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/keys/{id}/simulate [post]
func (h *Usage) Simulate(c *gin.Context) {
	if in, ok := bind(c, simulateKey{Body: simulateKeyRequest{now: time.Now()}}); ok {
		ctx := c.Request.Context()
		from, to := in.Body.timeRange()
		result, err := ofExisting(ctx, h, in.ID, func() (models.Simulation, error) {
			return h.usage.Simulate(ctx, in.ID, in.Body.Policies, from, to)
		})
		respond(c, http.StatusOK, Simulation{
			Requests: result.Requests, WouldRefuse: result.WouldRefuse, FirstRefusalAt: result.FirstRefusalAt,
			ByPolicy: result.ByPolicy, Timeline: result.Timeline, Resolution: resolution,
		}, err)
	}
}
