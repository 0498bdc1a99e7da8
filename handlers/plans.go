package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// PlanService manages plans.
type PlanService interface {
	// List returns up to limit plans ordered by name, starting after the position
	// after (nil: the start).
	List(ctx context.Context, after *models.Position, limit int) (models.Page[models.Plan], error)
	// Get returns one plan, or models.ErrNotFound.
	Get(ctx context.Context, name string) (models.Plan, error)
	// Put creates a plan or replaces one that meets the condition.
	Put(ctx context.Context, spec models.NewPlan, condition models.Precondition) (plan models.Plan, created bool, err error)
	// Delete removes a plan that no key uses and that meets the condition.
	Delete(ctx context.Context, name string, condition models.Precondition) error
}

// Plans serves /v1/admin/plans.
type Plans struct {
	plans   PlanService
	cursors *Cursors
}

// NewPlans returns the handlers of /v1/admin/plans.
func NewPlans(plans PlanService, cursors *Cursors) *Plans {
	return &Plans{plans: plans, cursors: cursors}
}

// Plan is a named list of policies.
type Plan struct {
	Name        string             `json:"name" example:"free"`                          // name of the plan
	Description string             `json:"description" example:"For trying things out."` // purpose of the plan
	Policies    []ratelimit.Policy `json:"policies"`                                     // policies of the keys on the plan
	Version     int64              `json:"version" minimum:"1" example:"1"`              // increases with every change; it is the ETag
	CreatedAt   time.Time          `json:"created_at" example:"2026-01-15T09:30:00Z"`    // when the plan was created
	UpdatedAt   time.Time          `json:"updated_at" example:"2026-01-15T09:30:00Z"`    // when the plan was last changed
}

// ShowPlan returns a plan as operators see it.
func ShowPlan(plan models.Plan) Plan {
	return Plan{
		Name: plan.Name, Description: plan.Description, Policies: append([]ratelimit.Policy{}, plan.Policies...),
		Version: plan.Version, CreatedAt: plan.CreatedAt, UpdatedAt: plan.UpdatedAt,
	}
}

// replacePlan is the input of PUT /v1/admin/plans/{name}.
type replacePlan struct {
	Name        string         `uri:"name" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$"`
	IfMatch     ifMatch        `header:"If-Match"`
	IfNoneMatch ifNoneMatch    `header:"If-None-Match" enums:"*"`
	Body        putPlanRequest `body:"required"`
}

// putPlanRequest is the wanted state of a plan. A whole plan can be sent back:
// members that can't be changed must be as stored, and those that change by
// themselves are ignored.
//
// It is the body of PUT /v1/admin/plans/{name}.
type putPlanRequest struct {
	Description string     `json:"description" maxLength:"500" example:"For trying things out."` // purpose of the plan
	Policies    policyList `json:"policies" validate:"required" maxItems:"16"`                   // policies of the keys on the plan; an empty list limits nothing

	Name      binding.Optional[string]       `json:"name" swaggertype:"string" readonly:"true" example:"free"`                                          // as in the path
	Version   binding.Optional[int64]        `json:"version" swaggertype:"integer" readonly:"true" example:"1"`                                         // ignored; If-Match makes a request conditional
	CreatedAt binding.Optional[binding.Time] `json:"created_at" swaggertype:"string" format:"date-time" readonly:"true" example:"2026-01-15T09:30:00Z"` // as stored, if the plan exists
	UpdatedAt binding.Optional[binding.Time] `json:"updated_at" swaggertype:"string" format:"date-time" readonly:"true" example:"2026-01-15T09:30:00Z"` // ignored
}

// Validate checks that the plan isn't renamed.
func (r *replacePlan) Validate(faults *models.Faults) {
	if name := r.Body.Name; name.Present && name.Value != r.Name {
		faults.Add("read_only", "can't be changed", "name")
	}
}

func (p *putPlanRequest) toModel(name string) models.NewPlan {
	plan := models.NewPlan{Name: name, Description: p.Description, Policies: p.Policies}
	if p.CreatedAt.Present {
		plan.CreatedAt = p.CreatedAt.Value.Std()
	}
	return plan
}

// Put handles PUT /v1/admin/plans/{name}.
//
//	@Summary		Create or replace a plan
//	@Description	A plan is a named list of policies. The change is effective for every key on the plan when the response is sent. Units that are spent stay spent.
//	@Tags			plans
//	@ID				putPlan
//	@Accept			json
//	@Produce		json
//	@Param			name		path		string	true	"Plan name"	example(free)
//	@Param			If-Match	header		string	false	"Replace only this version: the ETag of an earlier response"
//	@Param			If-None-Match	header	string	false	"Create only; never replace"	enums(*)
//	@Param			plan		body		putPlanRequest	true	"The plan"
//	@Success		200			{object}	Plan	"The plan was replaced"
//	@Success		201			{object}	Plan	"The plan was created"
//	@Header			all			{string}	ETag		"Version of the plan"
//	@Header			201			{string}	Location	"Path of the plan"
//	@Failure		400			{object}	middleware.Problem
//	@Failure		412			{object}	middleware.Problem
//	@Failure		413			{object}	middleware.Problem
//	@Failure		415			{object}	middleware.Problem
//	@Failure		422			{object}	middleware.Problem
//	@Router			/v1/admin/plans/{name} [put]
func (h *Plans) Put(c *gin.Context) {
	if in, ok := bind(c, replacePlan{}); ok {
		condition := models.Precondition(in.IfMatch)
		condition.Absent = in.IfNoneMatch.any
		plan, created, err := h.plans.Put(c.Request.Context(), in.Body.toModel(in.Name), condition)
		status := http.StatusOK
		if created {
			status = http.StatusCreated
			c.Header("Location", "/v1/admin/plans/"+plan.Name)
		}
		respondVersioned(c, status, plan.Version, ShowPlan(plan), err)
	}
}

// List handles GET /v1/admin/plans.
//
//	@Summary		List plans
//	@Description	Plans with their policies, by name.
//	@Tags			plans
//	@ID				listPlans
//	@Produce		json
//	@Param			page	query	page	false	"Page"
//	@Success		200		{object}	List[Plan]
//	@Failure		400		{object}	middleware.Problem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/admin/plans [get]
func (h *Plans) List(c *gin.Context) {
	if in, ok := bind(c, h.cursors.page("plans")); ok {
		plans, err := h.plans.List(c.Request.Context(), in.after, in.Limit)
		respondShown(c, in, plans, err, ShowPlan)
	}
}

// byName identifies a plan.
type byName struct {
	Name string `uri:"name"`
}

// Get handles GET /v1/admin/plans/{name}.
//
//	@Summary		Get a plan
//	@Description	A plan with its policies.
//	@Tags			plans
//	@ID				getPlan
//	@Produce		json
//	@Param			name	path		string	true	"Plan name"	example(free)
//	@Success		200		{object}	Plan
//	@Header			200		{string}	ETag	"Version of the plan"
//	@Failure		404		{object}	middleware.Problem
//	@Router			/v1/admin/plans/{name} [get]
func (h *Plans) Get(c *gin.Context) {
	if in, ok := bind(c, byName{}); ok {
		plan, err := h.plans.Get(c.Request.Context(), in.Name)
		respondVersioned(c, http.StatusOK, plan.Version, ShowPlan(plan), err)
	}
}

// versionedPlan identifies a plan, optionally in a certain version.
type versionedPlan struct {
	Name    string  `uri:"name"`
	IfMatch ifMatch `header:"If-Match"`
}

// Delete handles DELETE /v1/admin/plans/{name}.
//
//	@Summary		Delete a plan
//	@Description	Only a plan without keys can be deleted.
//	@Tags			plans
//	@ID				deletePlan
//	@Produce		json
//	@Param			name		path	string	true	"Plan name"	example(free)
//	@Param			If-Match	header	string	false	"Delete only this version: the ETag of an earlier response"
//	@Success		204
//	@Failure		404	{object}	middleware.Problem
//	@Failure		409	{object}	middleware.Problem	"Keys use the plan"
//	@Failure		412	{object}	middleware.Problem
//	@Router			/v1/admin/plans/{name} [delete]
func (h *Plans) Delete(c *gin.Context) {
	if in, ok := bindFor(c, versionedPlan{}); ok {
		respondEmpty(c, h.plans.Delete(c.Request.Context(), in.Name, models.Precondition(in.IfMatch)))
	}
}
