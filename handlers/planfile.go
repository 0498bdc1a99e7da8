package handlers

import (
	"slices"
	"strconv"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// planFile is a file of plans that operators keep with their code, or a list of
// plans as it is printed.
type planFile struct {
	Plans []filePlan `json:"plans" minItems:"1"`
	Data  []filePlan `json:"data" minItems:"1"`
}

type filePlan struct {
	Name        string     `json:"name" validate:"required" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$"`
	Description string     `json:"description" maxLength:"500"`
	Policies    policyList `json:"policies" validate:"required"`

	// What only a printed plan has. It is ignored.
	Version   binding.Optional[int64]        `json:"version"`
	CreatedAt binding.Optional[binding.Time] `json:"created_at"`
	UpdatedAt binding.Optional[binding.Time] `json:"updated_at"`
}

// Validate checks that there is one list, and no plan repeated.
func (f *planFile) Validate(faults *models.Faults) {
	list, of := f.Plans, "plans"
	switch {
	case f.Plans == nil && f.Data == nil:
		faults.Add("required", "is required", "plans")
	case f.Plans != nil && f.Data != nil:
		faults.Add("not_allowed", "is not allowed with plans", "data")
	case f.Data != nil:
		list, of = f.Data, "data"
	}
	names := map[string]bool{}
	for i, plan := range list {
		if names[plan.Name] {
			faults.Add("duplicate", "is repeated", of, strconv.Itoa(i), "name")
		}
		names[plan.Name] = true
	}
}

// ParsePlans parses a file of plans, {"plans":[{"name","description","policies"}]},
// or a list of plans of the API or the command line, by the rules of the API. Errors: *binding.Error for malformed JSON, or an error
// of models.KindInvalid with every fault of every plan.
func ParsePlans(data []byte) ([]models.NewPlan, error) {
	var file planFile
	if err := binding.DecodeJSON(data, &file); err != nil {
		return nil, err
	}
	list := slices.Concat(file.Plans, file.Data) // one is empty
	plans := make([]models.NewPlan, len(list))
	for i, plan := range list {
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
