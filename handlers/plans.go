package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// PlanService keeps plans.
type PlanService interface {
	// List returns up to limit plans by name, behind after (nil: from the start).
	List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Plan], error)
	// Get returns one plan, or models.ErrNotFound.
	Get(ctx context.Context, name string) (models.Plan, error)
	// Put makes a plan or replaces it, if it is as expected.
	Put(ctx context.Context, spec models.NewPlan, expected models.Expected) (plan models.Plan, created bool, err error)
	// Delete removes a plan that no key uses, if it is as expected.
	Delete(ctx context.Context, name string, expected models.Expected) error
}

// Plans serves /v1/admin/plans.
type Plans struct {
	plans   PlanService
	cursors *Cursors
	groups  []string
}

// NewPlans returns the handlers of /v1/admin/plans. groups are what policies
// can be bound to.
func NewPlans(plans PlanService, cursors *Cursors, groups []string) *Plans {
	return &Plans{plans: plans, cursors: cursors, groups: groups}
}

// Plan is a plan as it is shown.
type Plan struct {
	Name        string             `json:"name" example:"free"`                          // names the plan
	Description string             `json:"description" example:"For trying things out."` // what it is for
	Policies    []ratelimit.Policy `json:"policies"`                                     // what keys on it may do
	Version     int64              `json:"version" example:"1"`                          // raised by each change; it is the ETag
	CreatedAt   time.Time          `json:"created_at" example:"2026-01-15T09:30:00Z"`    // when it was made
	UpdatedAt   time.Time          `json:"updated_at" example:"2026-01-15T09:30:00Z"`    // when it was last changed
}

// ShowPlan returns a plan as it is shown.
func ShowPlan(plan models.Plan) (Plan, error) {
	shown := Plan{
		Name: plan.Name, Description: plan.Description, Policies: []ratelimit.Policy{},
		Version: plan.Version, CreatedAt: plan.CreatedAt, UpdatedAt: plan.UpdatedAt,
	}
	if err := json.Unmarshal(plan.Policies, &shown.Policies); err != nil {
		return Plan{}, fmt.Errorf("plan %s: %w", plan.Name, err)
	}
	return shown, nil
}

// putPlan is the body of PUT /v1/admin/plans/{name}.
type putPlan struct {
	Description string             `json:"description" maxLength:"500" example:"For trying things out."`
	Policies    []ratelimit.Policy `json:"policies" validate:"required" maxItems:"16"` // an empty list limits nothing

	groups []string
}

func (p *putPlan) policyGroups() []string { return p.groups }

// maxDescription is in bytes: a sentence or two.
const maxDescription = 500

func (p *putPlan) validate(faults *models.Faults) {
	if len(p.Description) > maxDescription {
		faults.Body("/description", "max_length", fmt.Sprintf("must be at most %d bytes", maxDescription))
	}
	if p.Policies == nil {
		faults.Body("/policies", "required", "is required; an empty list limits nothing")
	}
}

func (p *putPlan) toModel(name string) (models.NewPlan, error) {
	policies, err := json.Marshal(p.Policies)
	return models.NewPlan{Name: name, Description: p.Description, Policies: policies}, err
}

// planName is what a plan can be called, and what Postgres checks too.
var planName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

const planNameMessage = "must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or digit"

// Put answers PUT /v1/admin/plans/{name}.
//
//	@Summary		Create or replace a plan
//	@Description	A plan is a named list of policies. The change is in force for every key on the plan when the answer leaves; what was spent stays spent. Needs the scope admin:plans.
//	@Tags			plans
//	@ID				putPlan
//	@Accept			json
//	@Produce		json
//	@Param			name		path		string	true	"The plan's name"	minlength(1)	maxlength(32)
//	@Param			If-Match	header		string	false	"Replace only this version, as an ETag told it"
//	@Param			plan		body		putPlan	true	"What the plan shall be"
//	@Success		200			{object}	Plan	"It was replaced"
//	@Success		201			{object}	Plan	"It was created"
//	@Header			all			{string}	ETag	"The plan's version"
//	@Failure		400			{object}	models.Problem
//	@Failure		412			{object}	models.Problem
//	@Failure		413			{object}	models.Problem
//	@Failure		415			{object}	models.Problem
//	@Failure		422			{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/plans/{name} [put]
func (h *Plans) Put(c *gin.Context) {
	body := putPlan{groups: h.groups}
	if err := readNamed(c, &body); err != nil {
		fail(c, err)
		return
	}
	spec, err := body.toModel(c.Param("name"))
	if err != nil {
		fail(c, err)
		return
	}
	plan, created, err := h.plans.Put(c.Request.Context(), spec, ifMatch(c))
	if err != nil {
		fail(c, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		c.Header("Location", "/v1/admin/plans/"+plan.Name)
	}
	h.write(c, status, plan)
}

// readNamed reads the body of a plan, and checks its name in the path, with the
// faults of both at once.
func readNamed(c *gin.Context, body *putPlan) error {
	err := readBody(c, body)
	if planName.MatchString(c.Param("name")) {
		return err
	}
	var faults models.Faults
	faults.Add("path", "name", "pattern", planNameMessage)
	return joinFaults(err, faults)
}

func (h *Plans) write(c *gin.Context, status int, plan models.Plan) {
	shown, err := ShowPlan(plan)
	if err != nil {
		fail(c, err)
		return
	}
	writeVersioned(c, status, plan.Version, shown)
}

// List answers GET /v1/admin/plans.
//
//	@Summary		List plans
//	@Description	Every plan with its policies, by name, a page at a time. Needs the scope admin:plans.
//	@Tags			plans
//	@ID				listPlans
//	@Produce		json
//	@Param			limit	query		int		false	"Most items on the page"	minimum(1)	maximum(100)	default(20)
//	@Param			cursor	query		string	false	"Where the page starts: next_cursor of the page before"
//	@Success		200		{object}	List[Plan]
//	@Failure		400		{object}	models.Problem
//	@Failure		422		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/plans [get]
func (h *Plans) List(c *gin.Context) {
	after, limit, err := readPage(c, h.cursors, "plans")
	if err != nil {
		fail(c, err)
		return
	}
	page, err := h.plans.List(c.Request.Context(), after, limit)
	if err != nil {
		fail(c, err)
		return
	}
	shown := models.Page[Plan]{Data: make([]Plan, len(page.Data)), Next: page.Next}
	for i, plan := range page.Data {
		if shown.Data[i], err = ShowPlan(plan); err != nil {
			fail(c, err)
			return
		}
	}
	writePage(c, h.cursors, "plans", shown)
}

// Get answers GET /v1/admin/plans/{name}.
//
//	@Summary		Get a plan
//	@Description	One plan with its policies. Needs the scope admin:plans.
//	@Tags			plans
//	@ID				getPlan
//	@Produce		json
//	@Param			name	path		string	true	"The plan's name"
//	@Success		200		{object}	Plan
//	@Header			200		{string}	ETag	"The plan's version"
//	@Failure		404		{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/plans/{name} [get]
func (h *Plans) Get(c *gin.Context) {
	plan, err := h.plans.Get(c.Request.Context(), c.Param("name"))
	if err != nil {
		fail(c, err)
		return
	}
	h.write(c, http.StatusOK, plan)
}

// Delete answers DELETE /v1/admin/plans/{name}.
//
//	@Summary		Delete a plan
//	@Description	Only a plan that no key uses can be deleted. Needs the scope admin:plans.
//	@Tags			plans
//	@ID				deletePlan
//	@Produce		json
//	@Param			name		path	string	true	"The plan's name"
//	@Param			If-Match	header	string	false	"Delete only this version, as an ETag told it"
//	@Success		204
//	@Failure		404	{object}	models.Problem
//	@Failure		409	{object}	models.Problem	"Keys use the plan"
//	@Failure		412	{object}	models.Problem
//	@Security		BearerAuth
//	@Security		ApiKeyAuth
//	@Router			/v1/admin/plans/{name} [delete]
func (h *Plans) Delete(c *gin.Context) {
	if err := h.plans.Delete(c.Request.Context(), c.Param("name"), ifMatch(c)); err != nil {
		fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
