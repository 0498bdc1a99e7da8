package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// CheckService decides on subjects that callers define.
type CheckService interface {
	// Check takes the cost permanently, from all policies or none. An invalid
	// check is an error of models.KindInvalid.
	Check(ctx context.Context, check models.Check) (ratelimit.Decision, error)
	// Reserve takes the cost and returns the id of the reservation, which can be
	// committed or released until expiresAt; "" if it is refused.
	Reserve(ctx context.Context, check models.Check) (d ratelimit.Decision, id string, expiresAt time.Time, err error)
	// Commit settles at actual, which may be above what was reserved, or
	// returns models.ErrNotFound.
	Commit(ctx context.Context, owner, id string, actual int64) error
	// Release returns all units, or returns models.ErrNotFound.
	Release(ctx context.Context, owner, id string) error
}

// Checks serves /v1/limits.
type Checks struct {
	checks CheckService
}

// NewChecks returns the handlers of /v1/limits.
func NewChecks(checks CheckService) *Checks { return &Checks{checks: checks} }

// check is the input of POST /v1/limits/check and /v1/limits/reserve.
type check struct {
	Body checkLimitRequest `body:"required"`
}

// checkLimitRequest is a check of the limits of a subject.
//
// It is the body of POST /v1/limits/check and /v1/limits/reserve.
type checkLimitRequest struct {
	Subject string `json:"subject" validate:"required" minLength:"1" maxLength:"128" example:"tenant-42"` // subject whose counters are spent
	Plan    string `json:"plan" validate:"required" minLength:"1" maxLength:"32" example:"free"`          // plan whose policies decide
	Cost    int64  `json:"cost" minimum:"0" maximum:"1000000" default:"1" example:"1"`                    // units to take; 0 peeks
}

func (b *checkLimitRequest) toModel(c *gin.Context) models.Check {
	return models.Check{Owner: keyOf(c).Owner, Subject: b.Subject, Plan: b.Plan, Cost: b.Cost}
}

// checkLimitResponse is the decision on a check. Times are in seconds.
type checkLimitResponse struct {
	Allowed          bool           `json:"allowed" example:"true"`              // whether the cost was taken
	Limits           []models.Limit `json:"limits"`                              // state of each policy after the decision
	ViolatedPolicies []string       `json:"violated_policies"`                   // policies that refused
	RetryAfter       *float64       `json:"retry_after" minimum:"0" example:"0"` // time until this cost would pass; null if it never can
	Wait             float64        `json:"wait" minimum:"0" example:"0"`        // delay before the request should run, required by leaky_bucket policies
}

func newCheckLimitResponse(d *ratelimit.Decision) checkLimitResponse {
	response := checkLimitResponse{
		Allowed: d.Allowed, Limits: models.LimitsOf(d.Statuses()),
		ViolatedPolicies: d.Violated(), RetryAfter: new(float64), Wait: models.Seconds(d.Wait),
	}
	if response.ViolatedPolicies == nil {
		response.ViolatedPolicies = []string{}
	}
	if wait, ever := d.RetryAfter(); !d.Allowed {
		response.RetryAfter = nil
		if ever {
			response.RetryAfter = models.SecondsOrNever(wait)
		}
	}
	return response
}

// Check handles POST /v1/limits/check.
//
//	@Summary		Check a limit
//	@Description	Decides by the policies of a plan for a subject of your own, and takes the cost if it is allowed. Counters are identified by your owner, the plan and the subject, and are separate from the counters of keys. A plan with a concurrency policy is rejected because its slot could not be freed; use a reservation instead.
//	@Tags			limits
//	@ID				checkLimit
//	@Accept			json
//	@Produce		json
//	@Param			check	body		checkLimitRequest	true	"Subject, plan and cost"
//	@Success		200		{object}	checkLimitResponse	"The decision, whether allowed or not"
//	@Router			/v1/limits/check [post]
func (h *Checks) Check(c *gin.Context) {
	if in, ok := bind(c, check{}); ok {
		decision, err := h.checks.Check(c.Request.Context(), in.Body.toModel(c))
		respond(c, http.StatusOK, newCheckLimitResponse(&decision), err)
	}
}

// reserveLimitResponse is the decision on a reservation. Times are in seconds.
type reserveLimitResponse struct {
	checkLimitResponse
	Reservation *string    `json:"reservation" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // id of the reservation; null if refused
	ExpiresAt   *time.Time `json:"expires_at" example:"2026-01-15T09:31:00Z"`            // when the reservation expires; null if refused
}

// Reserve handles POST /v1/limits/reserve.
//
//	@Summary		Reserve units
//	@Description	Takes units like a check, but they can be returned: commit the reservation with its actual cost, or release it. If it expires first, its cost stays spent and its concurrency slots are freed.
//	@Tags			limits
//	@ID				reserveLimit
//	@Accept			json
//	@Produce		json
//	@Param			check	body		checkLimitRequest		true	"Subject, plan and cost"
//	@Success		200		{object}	reserveLimitResponse	"The decision, whether allowed or not"
//	@Router			/v1/limits/reserve [post]
func (h *Checks) Reserve(c *gin.Context) {
	if in, ok := bind(c, check{}); ok {
		decision, id, expiresAt, err := h.checks.Reserve(c.Request.Context(), in.Body.toModel(c))
		respond(c, http.StatusOK, newReserveLimitResponse(&decision, id, expiresAt), err)
	}
}

func newReserveLimitResponse(d *ratelimit.Decision, id string, expiresAt time.Time) reserveLimitResponse {
	shown := reserveLimitResponse{checkLimitResponse: newCheckLimitResponse(d)}
	if id != "" {
		expiresAt = expiresAt.UTC()
		shown.Reservation, shown.ExpiresAt = &id, &expiresAt
	}
	return shown
}

// commit is the input of POST /v1/limits/commit.
type commit struct {
	Body commitLimitRequest `body:"required"`
}

// commitLimitRequest is the actual cost of a reservation.
//
// It is the body of POST /v1/limits/commit.
type commitLimitRequest struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // id from POST /v1/limits/reserve
	Cost        int64  `json:"cost" validate:"required" minimum:"0" maximum:"1000000" example:"1"`                     // actual cost; more than was reserved is charged as debt
}

// Commit handles POST /v1/limits/commit.
//
//	@Summary		Commit a reservation
//	@Description	Ends a reservation with its actual cost: returns the rest, or charges what is missing as debt.
//	@Tags			limits
//	@ID				commitLimit
//	@Accept			json
//	@Param			commit	body	commitLimitRequest	true	"Reservation and actual cost"
//	@Success		204
//	@Failure		404
//	@Router			/v1/limits/commit [post]
func (h *Checks) Commit(c *gin.Context) {
	if in, ok := bindFor(c, commit{}); ok {
		respondEmpty(c, h.checks.Commit(c.Request.Context(), keyOf(c).Owner, in.Body.Reservation, in.Body.Cost))
	}
}

// release is the input of POST /v1/limits/release.
type release struct {
	Body releaseLimitRequest `body:"required"`
}

// releaseLimitRequest is the reservation to release.
//
// It is the body of POST /v1/limits/release.
type releaseLimitRequest struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // id from POST /v1/limits/reserve
}

// Release handles POST /v1/limits/release.
//
//	@Summary		Release a reservation
//	@Description	Ends a reservation and returns all of its units.
//	@Tags			limits
//	@ID				releaseLimit
//	@Accept			json
//	@Param			release	body	releaseLimitRequest	true	"Reservation"
//	@Success		204
//	@Failure		404
//	@Router			/v1/limits/release [post]
func (h *Checks) Release(c *gin.Context) {
	if in, ok := bindFor(c, release{}); ok {
		respondEmpty(c, h.checks.Release(c.Request.Context(), keyOf(c).Owner, in.Body.Reservation))
	}
}
