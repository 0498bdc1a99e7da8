package handlers

import (
	"fmt"
	"strconv"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// planFile is a file of plans, as operators keep them beside their code.
type planFile struct {
	Plans []filedPlan `json:"plans"`

	groups []string
}

type filedPlan struct {
	Name        string             `json:"name"`
	Description string             `json:"description"`
	Policies    []ratelimit.Policy `json:"policies"`
}

func (f *planFile) policyGroups() []string { return f.groups }

func (f *planFile) validate(faults *models.Faults) {
	if len(f.Plans) == 0 {
		faults.Body("/plans", "required", "must have at least one plan")
	}
	names := map[string]bool{}
	for i, plan := range f.Plans {
		at := "/plans/" + strconv.Itoa(i)
		switch {
		case !planName.MatchString(plan.Name):
			faults.Body(at+"/name", "pattern", planNameMessage)
		case names[plan.Name]:
			faults.Body(at+"/name", "duplicate", "stands twice")
		}
		names[plan.Name] = true
		if len(plan.Description) > maxDescription {
			faults.Body(at+"/description", "max_length", fmt.Sprintf("must be at most %d bytes", maxDescription))
		}
		if plan.Policies == nil {
			faults.Body(at+"/policies", "required", "is required; an empty list limits nothing")
		}
	}
}

// ReadPlans reads a file of plans, {"plans":[{"name","description","policies"}]},
// as strictly as the API reads one. Errors: *models.StatusError (no JSON),
// *models.InvalidError with every fault of every plan.
func ReadPlans(json []byte, groups []string) ([]models.NewPlan, error) {
	file := planFile{groups: groups}
	if err := checkSyntax(json); err != nil {
		return nil, err
	}
	if err := decode(json, &file); err != nil {
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
