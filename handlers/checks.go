package handlers

import (
	"context"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// CheckService decides for callers that protect something else than our routes.
type CheckService interface {
	// Check takes the cost and keeps it, all or nothing. What is wrong with
	// the check is a *models.InvalidError.
	Check(ctx context.Context, check models.Check) (ratelimit.Decision, error)
	// Reserve takes the cost until expiresAt, and returns the id by which it
	// can be given back; "" when it was refused.
	Reserve(ctx context.Context, check models.Check) (d ratelimit.Decision, id string, expiresAt time.Time, err error)
	// Commit gives back all but actual, or returns models.ErrNotFound.
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

// checkBody is the body of POST /v1/limits/check and /v1/limits/reserve.
type checkBody struct {
	Subject string `json:"subject" validate:"required" minLength:"1" maxLength:"128" example:"tenant-42"` // whatever is counted for
	Plan    string `json:"plan" validate:"required" minLength:"1" maxLength:"32" example:"free"`          // whose policies decide
	Cost    int64  `json:"cost" minimum:"0" maximum:"1000000" default:"1" example:"1"`                    // units to take; 0 peeks
}

// maxSubject is in characters.
const maxSubject = 128

func (b *checkBody) validate(faults *models.Faults) {
	switch n := utf8.RuneCountInString(b.Subject); {
	case n == 0:
		faults.Body("/subject", "required", "must not be empty")
	case n > maxSubject:
		faults.Body("/subject", "max_length", fmt.Sprintf("must be at most %d characters", maxSubject))
	}
	if b.Plan == "" {
		faults.Body("/plan", "required", "must not be empty")
	}
	validateCost(faults, b.Cost)
}

func validateCost(faults *models.Faults, cost int64) {
	switch {
	case cost < 0:
		faults.Body("/cost", "min", "must be at least 0")
	case cost > ratelimit.MaxCost:
		faults.Body("/cost", "max", fmt.Sprintf("must be at most %d", ratelimit.MaxCost))
	}
}

func (b *checkBody) toModel(c *gin.Context) models.Check {
	return models.Check{Owner: models.RequestFrom(c).Key.Owner, Subject: b.Subject, Plan: b.Plan, Cost: b.Cost}
}

// checkAnswer is a decision about a check. Times are in seconds.
type checkAnswer struct {
	Allowed          bool     `json:"allowed" example:"true"`  // whether the cost was taken
	Limits           []Limit  `json:"limits"`                  // where each policy stands now
	ViolatedPolicies []string `json:"violated_policies"`       // those that refuse
	RetryAfter       *float64 `json:"retry_after" example:"0"` // until this cost would pass; null where it never can
	Wait             float64  `json:"wait" example:"0"`        // how long to queue first, by leaky_bucket policies
}

func newCheckAnswer(d *ratelimit.Decision) checkAnswer {
	answer := checkAnswer{
		Allowed: d.Allowed, Limits: showStatuses(d.Statuses()),
		ViolatedPolicies: d.Violated(), RetryAfter: new(float64), Wait: d.Wait.Seconds(),
	}
	if answer.ViolatedPolicies == nil {
		answer.ViolatedPolicies = []string{}
	}
	if wait, ever := d.RetryAfter(); !d.Allowed {
		answer.RetryAfter = nil
		if ever {
			answer.RetryAfter = seconds(wait)
		}
	}
	return answer
}

// Check answers POST /v1/limits/check.
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
	body := checkBody{Cost: 1}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	decision, err := h.checks.Check(c.Request.Context(), body.toModel(c))
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, newCheckAnswer(&decision))
}

// reserveAnswer is a decision about a reservation.
type reserveAnswer struct {
	checkAnswer
	Reservation *string    `json:"reservation" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // to commit or release; null when refused
	ExpiresAt   *time.Time `json:"expires_at" example:"2026-01-15T09:31:00Z"`            // until then; null when refused
}

// Reserve answers POST /v1/limits/reserve.
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
	body := checkBody{Cost: 1}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	decision, id, expiresAt, err := h.checks.Reserve(c.Request.Context(), body.toModel(c))
	if err != nil {
		fail(c, err)
		return
	}
	answer := reserveAnswer{checkAnswer: newCheckAnswer(&decision)}
	if id != "" {
		expiresAt = expiresAt.UTC()
		answer.Reservation, answer.ExpiresAt = &id, &expiresAt
	}
	c.JSON(http.StatusOK, answer)
}

// commitBody is the body of POST /v1/limits/commit.
type commitBody struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // which one, as POST /v1/limits/reserve told it
	Cost        int64  `json:"cost" validate:"required" minimum:"0" maximum:"1000000" example:"1"`                     // what the work really cost: at most what was reserved
}

func (b *commitBody) validate(faults *models.Faults) {
	validateReservation(faults, b.Reservation)
	if b.Cost == missingCost {
		faults.Body("/cost", "required", "must say what the work really cost")
		return
	}
	validateCost(faults, b.Cost)
}

func validateReservation(faults *models.Faults, id string) {
	if id == "" {
		faults.Body("/reservation", "required", "must not be empty")
	}
}

// missingCost stands for a cost that the caller left out: 0 is one.
const missingCost = -1 << 63

// Commit answers POST /v1/limits/commit.
//
//	@Summary		Commit a reservation
//	@Description	Ends a reservation at what the work really cost, and gives the rest back.
//	@Tags			limits
//	@ID				commitLimit
//	@Accept			json
//	@Param			commit	body	commitBody	true	"Which reservation, and its cost"
//	@Success		204
//	@Failure		404
//	@Security		BearerAuth
//	@Router			/v1/limits/commit [post]
func (h *Checks) Commit(c *gin.Context) {
	body := commitBody{Cost: missingCost}
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := h.checks.Commit(c.Request.Context(), models.RequestFrom(c).Key.Owner, body.Reservation, body.Cost); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// releaseBody is the body of POST /v1/limits/release.
type releaseBody struct {
	Reservation string `json:"reservation" validate:"required" minLength:"1" example:"rsv_4clhascy3od6dwbazzhk43y66r"` // which one, as POST /v1/limits/reserve told it
}

func (b *releaseBody) validate(faults *models.Faults) { validateReservation(faults, b.Reservation) }

// Release answers POST /v1/limits/release.
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
	var body releaseBody
	if err := readBody(c, &body); err != nil {
		fail(c, err)
		return
	}
	if err := h.checks.Release(c.Request.Context(), models.RequestFrom(c).Key.Owner, body.Reservation); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
