package handlers

import (
	"strconv"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// planFile is a file of plans, as operators keep them beside their code.
type planFile struct {
	Plans []filedPlan `json:"plans" validate:"required" minItems:"1"`

	groups []string
}

type filedPlan struct {
	Name        string             `json:"name" validate:"required" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$"`
	Description string             `json:"description" maxLength:"500"`
	Policies    []ratelimit.Policy `json:"policies" validate:"required"`
}

// PolicyGroups returns what policies can be bound to.
func (f *planFile) PolicyGroups() []string { return f.groups }

// Validate checks that no plan stands twice.
func (f *planFile) Validate(faults *models.Faults) {
	names := map[string]bool{}
	for i, plan := range f.Plans {
		if names[plan.Name] {
			faults.Body("/plans/"+strconv.Itoa(i)+"/name", "duplicate", "stands twice")
		}
		names[plan.Name] = true
	}
}

// ReadPlans reads a file of plans, {"plans":[{"name","description","policies"}]},
// as strictly as the API reads one. Errors: *models.StatusError (no JSON),
// *models.InvalidError with every fault of every plan.
func ReadPlans(json []byte, groups []string) ([]models.NewPlan, error) {
	file := planFile{groups: groups}
	if err := binding.DecodeJSON(json, &file); err != nil {
		return nil, err
	}
	plans := make([]models.NewPlan, len(file.Plans))
	for i, plan := range file.Plans {
		put := putPlan{Description: plan.Description, Policies: plan.Policies}
		spec, err := put.toModel(plan.Name)
		if err != nil {
			return nil, err
		}
		plans[i] = spec
	}
	return plans, nil
}
