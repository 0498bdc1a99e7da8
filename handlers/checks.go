package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// CheckService decides for subjects of callers' own.
type CheckService interface {
	// Check takes the cost for good, all or nothing. An invalid check is an error
	// of models.KindInvalid.
	Check(ctx context.Context, check models.Check) (ratelimit.Decision, error)
	// Reserve takes the cost and returns the id by which it can be given back
	// until expiresAt; "" when refused.
	Reserve(ctx context.Context, check models.Check) (d ratelimit.Decision, id string, expiresAt time.Time, err error)
	// Commit settles at actual, which may be above what was reserved, or
	// returns models.ErrNotFound.
	Commit(ctx context.Context, owner, id string, actual int64) error
	// Release gives everything back, or returns models.ErrNotFound.
	Release(ctx context.Context, owner, id string) error
}

// Checks serves /v1/limits.
type Checks struct {
	checks CheckService
}

// NewChecks returns the handlers of /v1/limits.
func NewChecks(checks CheckService) *Checks { return &Checks{checks: checks} }

// check is what POST /v1/limits/check and /v1/limits/reserve take.
type check struct {
	Body checkBody `body:"required"`
}

// checkBody is what to take, and from whose counters.
//
// It is the body of POST /v1/limits/check and /v1/limits/reserve.
type checkBody struct {
	Subject string `json:"subject" validate:"required" minLength:"1" maxLength:"128" example:"tenant-42"` // whatever is counted for
	Plan    string `json:"plan" validate:"required" minLength:"1" maxLength:"32" example:"free"`          // whose policies decide
	Cost    int64  `json:"cost" minimum:"0" maximum:"1000000" default:"1" example:"1"`                    // units to take; 0 peeks
}

func (b *checkBody) toModel(c *gin.Context) models.Check {
	return models.Check{Owner: keyOf(c).Owner, Subject: b.Subject, Plan: b.Plan, Cost: b.Cost}
}

// checkAnswer is a decision about a check. Times are in seconds.
type checkAnswer struct {
	Allowed          bool     `json:"allowed" example:"true"`              // whether the cost was taken
	Limits           []Limit  `json:"limits"`                              // where each policy stands now
	ViolatedPolicies []string `json:"violated_policies"`                   // those that refuse
	RetryAfter       *float64 `json:"retry_after" minimum:"0" example:"0"` // until this cost would pass; null where it never can
	Wait             float64  `json:"wait" minimum:"0" example:"0"`        // how long to queue first, by leaky_bucket policies
}

func newCheckAnswer(d *ratelimit.Decision) checkAnswer {
	response := checkAnswer{
		Allowed: d.Allowed, Limits: showStatuses(d.Statuses()),
		ViolatedPolicies: d.Violated(), RetryAfter: new(float64), Wait: d.Wait.Seconds(),
	}
	if response.ViolatedPolicies == nil {
		response.ViolatedPolicies = []string{}
	}
	if wait, ever := d.RetryAfter(); !d.Allowed {
		response.RetryAfter = nil
		if ever {
			response.RetryAfter = seconds(wait)
		}
	}
	return response
}

// Check handles POST /v1/limits/check.
//
//	@Summary		Check a limit
//	@Description	Decides by the plan's policies for a subject of yours, and takes the cost when it is allowed: the engine as a service. The counters belong to your owner, the plan and the subject, and never touch a key's. A plan with a concurrency policy is refused, for nothing would free the slot: reserve instead.
//	@Tags			limits
//	@ID				checkLimit
//	@Accept			json
//	@Produce		json
//	@Param			check	body		checkBody	true	"What to count"
//	@Success		200		{object}	checkAnswer	"The decision, whether allowed or not"
//	@Security		BearerAuth
//	@Router			/v1/limits/check [post]
func (h *Checks) Check(c *gin.Context) {
	if in, ok := bind(c, check{}); ok {
		decision, err := h.checks.Check(c.Request.Context(), in.Body.toModel(c))
		respond(c, http.StatusOK, newCheckAnswer(&decision), err)
	}
}

// reserveAnswer is a decision about a reservation.
type reserveAnswer struct {
	checkAnswer
	Reservation *string    `json:"reservation" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // to commit or release; null when refused
	ExpiresAt   *time.Time `json:"expires_at" example:"2026-01-15T09:31:00Z"`            // until then; null when refused
}

// Reserve handles POST /v1/limits/reserve.
//
//	@Summary		Reserve units
//	@Description	A check whose cost can be given back: commit it at what the work really cost, or release it. A reservation that is forgotten stays spent when it expires, and frees its concurrency slots.
//	@Tags			limits
//	@ID				reserveLimit
//	@Accept			json
//	@Produce		json
//	@Param			check	body		checkBody		true	"What to count"
//	@Success		200		{object}	reserveAnswer	"The decision, whether allowed or not"
//	@Security		BearerAuth
//	@Router			/v1/limits/reserve [post]
func (h *Checks) Reserve(c *gin.Context) {
	if in, ok := bind(c, check{}); ok {
		decision, id, expiresAt, err := h.checks.Reserve(c.Request.Context(), in.Body.toModel(c))
		respond(c, http.StatusOK, newReserveAnswer(&decision, id, expiresAt), err)
	}
}

func newReserveAnswer(d *ratelimit.Decision, id string, expiresAt time.Time) reserveAnswer {
	shown := reserveAnswer{checkAnswer: newCheckAnswer(d)}
	if id != "" {
		expiresAt = expiresAt.UTC()
		shown.Reservation, shown.ExpiresAt = &id, &expiresAt
	}
	return shown
}

// commit is what POST /v1/limits/commit takes.
type commit struct {
	Body commitBody `body:"required"`
}

// commitBody says what the work of a reservation really cost.
//
// It is the body of POST /v1/limits/commit.
type commitBody struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // which one, as POST /v1/limits/reserve told it
	Cost        int64  `json:"cost" validate:"required" minimum:"0" maximum:"1000000" example:"1"`                     // what the work really cost; more than was reserved is charged as debt
}

// Commit handles POST /v1/limits/commit.
//
//	@Summary		Commit a reservation
//	@Description	Ends a reservation at what the work really cost: gives the rest back, or charges what is missing as debt.
//	@Tags			limits
//	@ID				commitLimit
//	@Accept			json
//	@Param			commit	body	commitBody	true	"Which reservation, and its cost"
//	@Success		204
//	@Failure		404
//	@Security		BearerAuth
//	@Router			/v1/limits/commit [post]
func (h *Checks) Commit(c *gin.Context) {
	if in, ok := bindFor(c, commit{}); ok {
		respondEmpty(c, h.checks.Commit(c.Request.Context(), keyOf(c).Owner, in.Body.Reservation, in.Body.Cost))
	}
}

// release is what POST /v1/limits/release takes.
type release struct {
	Body releaseBody `body:"required"`
}

// releaseBody names the reservation to give back.
//
// It is the body of POST /v1/limits/release.
type releaseBody struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // which one, as POST /v1/limits/reserve told it
}

// Release handles POST /v1/limits/release.
//
//	@Summary		Release a reservation
//	@Description	Gives all of a reservation back, once.
//	@Tags			limits
//	@ID				releaseLimit
//	@Accept			json
//	@Param			release	body	releaseBody	true	"Which reservation"
//	@Success		204
//	@Failure		404
//	@Security		BearerAuth
//	@Router			/v1/limits/release [post]
func (h *Checks) Release(c *gin.Context) {
	if in, ok := bindFor(c, release{}); ok {
		respondEmpty(c, h.checks.Release(c.Request.Context(), keyOf(c).Owner, in.Body.Reservation))
	}
}
