package handlers

import (
	"strconv"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// planFile is a file of plans that operators keep with their code.
type planFile struct {
	Plans []filePlan `json:"plans" validate:"required" minItems:"1"`
}

type filePlan struct {
	Name        string     `json:"name" validate:"required" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$"`
	Description string     `json:"description" maxLength:"500"`
	Policies    policyList `json:"policies" validate:"required"`
}

// Validate checks that no plan is repeated.
func (f *planFile) Validate(faults *models.Faults) {
	names := map[string]bool{}
	for i, plan := range f.Plans {
		if names[plan.Name] {
			faults.Add("duplicate", "is repeated", "plans", strconv.Itoa(i), "name")
		}
		names[plan.Name] = true
	}
}

// ParsePlans parses a file of plans, {"plans":[{"name","description","policies"}]},
// by the rules of the API. Errors: *binding.Error for malformed JSON, or an error
// of models.KindInvalid with every fault of every plan.
func ParsePlans(data []byte) ([]models.NewPlan, error) {
	var file planFile
	if err := binding.DecodeJSON(data, &file); err != nil {
		return nil, err
	}
	plans := make([]models.NewPlan, len(file.Plans))
	for i, plan := range file.Plans {
		plans[i] = models.NewPlan{Name: plan.Name, Description: plan.Description, Policies: plan.Policies}
	}
	return plans, nil
}

// ParseNewKey parses the body of a request for a new key by the rules of the API.
// Errors: as of ParsePlans.
func ParseNewKey(data []byte) (models.NewKey, error) {
	var body createKeyRequest
	if err := binding.DecodeJSON(data, &body); err != nil {
		return models.NewKey{}, err
	}
	return body.toModel(), nil
}
