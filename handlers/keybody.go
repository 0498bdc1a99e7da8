package handlers

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// makeKey is the input of POST /v1/admin/keys.
type makeKey struct {
	Body createKeyRequest `body:"required"`
}

// createKeyRequest is a key to create. Only its name is required.
//
// It is the body of POST /v1/admin/keys.
type createKeyRequest struct {
	Name      string                   `json:"name" validate:"required" minLength:"1" maxLength:"200" pattern:"\\S" says:"must not be blank" example:"Checkout service"` // name, for operators
	Plan      string                   `json:"plan" default:"free" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$" example:"free"`                                                  // plan whose policies apply
	Scopes    []models.Scope           `json:"scopes" minItems:"1" uniqueItems:"true" example:"products:read,orders:read"`                                               // scopes that the key holds; by default products:read, orders:read and orders:write
	Owner     binding.Optional[string] `json:"owner" swaggertype:"string" minLength:"1" maxLength:"100" pattern:"\\S" says:"must not be blank"`                          // owner, which groups keys; orders belong to the owner; by default a new one
	ExpiresAt *binding.Time            `json:"expires_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"`                // when the key expires; null: never
	IPAllow   []binding.Network        `json:"ip_allow" swaggertype:"array,string" maxItems:"100"`                                                                       // networks and addresses that may use the key; by default all
	Metadata  map[string]string        `json:"metadata" maxItems:"50" minName:"1" maxName:"64" maxLength:"500" exampleJSON:"{\"team\":\"checkout\"}"`                    // labels, for operators; at most 16 KiB in all
	Overrides []keyOverrideRequest     `json:"overrides" maxItems:"16"`                                                                                                  // policies that replace the plan's policies of the same name, or are added
}

// keyOverrideRequest is a policy of one key. It replaces the plan's policy of the same
// name, or adds one.
type keyOverrideRequest struct {
	Policy    policy        `json:"policy" validate:"required"`                                                                                // replaces the plan's policy of this name
	ExpiresAt *binding.Time `json:"expires_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"` // when the plan applies again; null: never
	Reason    string        `json:"reason" maxLength:"500" example:"Launch week"`                                                              // reason, for operators
}

// changeKey is the input of PATCH /v1/admin/keys/{id}.
type changeKey struct {
	ID      string           `uri:"id"`
	IfMatch ifMatch          `header:"If-Match"`
	Body    updateKeyRequest `body:"required"`
}

// updateKeyRequest is a JSON merge patch (RFC 7396) of a key. Absent fields stay
// unchanged, null removes a value, and lists are replaced as a whole. A whole key
// can be sent back: members that can't be changed must be as stored, and those
// that change by themselves are ignored.
type updateKeyRequest struct {
	Name      binding.Optional[string]                `json:"name" swaggertype:"string" minLength:"1" maxLength:"200" pattern:"\\S" says:"must not be blank" example:"Checkout service"`                                 // name, for operators
	Plan      binding.Optional[string]                `json:"plan" swaggertype:"string" pattern:"^[a-z0-9][a-z0-9_-]{0,31}$" example:"pro"`                                                                              // plan whose policies apply
	Scopes    binding.Optional[[]models.Scope]        `json:"scopes" swaggertype:"array,string" minItems:"1" uniqueItems:"true" example:"products:read"`                                                                 // scopes that the key holds
	Owner     binding.Optional[string]                `json:"owner" swaggertype:"string" minLength:"1" maxLength:"100" pattern:"\\S" says:"must not be blank" example:"own_5HqT1bZr8wYk"`                                // owner; to change it requires the scope admin
	ExpiresAt binding.Optional[*binding.Time]         `json:"expires_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"`                                                 // when the key expires; null: never
	IPAllow   binding.Optional[*[]binding.Network]    `json:"ip_allow" swaggertype:"array,string" maxItems:"100" extensions:"x-nullable" example:"203.0.113.0/24"`                                                       // networks and addresses that may use the key; empty or null: all
	Metadata  binding.Optional[*map[string]*string]   `json:"metadata" swaggertype:"object,string" maxItems:"50" minName:"1" maxName:"64" maxLength:"500" extensions:"x-nullable" exampleJSON:"{\"team\":\"checkout\"}"` // labels, for operators; at most 16 KiB in all; null removes a label
	Overrides binding.Optional[*[]keyOverrideRequest] `json:"overrides" swaggertype:"array,object" maxItems:"16" extensions:"x-nullable"`                                                                                // policies that replace the plan's policies of the same name, or are added; null: none

	ID         binding.Optional[string]        `json:"id" swaggertype:"string" readonly:"true" example:"9Kx2mV4tQaLp"`                                    // as stored
	Subject    binding.Optional[string]        `json:"subject" swaggertype:"string" readonly:"true" example:"9Kx2mV4tQaLp"`                               // as stored
	CreatedAt  binding.Optional[binding.Time]  `json:"created_at" swaggertype:"string" format:"date-time" readonly:"true" example:"2026-01-15T09:30:00Z"` // as stored
	Status     binding.Optional[string]        `json:"status" swaggertype:"string" readonly:"true" example:"active"`                                      // ignored
	LastUsedAt binding.Optional[*binding.Time] `json:"last_used_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" readonly:"true"`      // ignored
	Version    binding.Optional[int64]         `json:"version" swaggertype:"integer" readonly:"true" example:"1"`                                         // ignored; If-Match makes a patch conditional
	Quota      []ignored                       `json:"quota" swaggertype:"array,object" readonly:"true"`                                                  // ignored
}

// ignored is an object in a body that is accepted and not read.
type ignored json.RawMessage

// DecodeJSON accepts every object.
func (*ignored) DecodeJSON(data []byte, fault func(code, message string, path ...string)) {
	if data[0] != '{' {
		fault("type", "must be an object")
	}
}

// Validate checks scopes and overrides.
func (k *createKeyRequest) Validate(faults *models.Faults) {
	validateScopes(faults, k.Scopes)
	validateOverrides(faults, k.Overrides)
}

// Validate checks scopes and overrides.
func (k *updateKeyRequest) Validate(faults *models.Faults) {
	validateScopes(faults, k.Scopes.Value)
	validateOverrides(faults, orEmpty(k.Overrides.Value))
}

func (k *createKeyRequest) toModel() models.NewKey {
	return models.NewKey{
		Name: k.Name, Plan: k.Plan, Scopes: k.Scopes, Owner: k.Owner.Value, ExpiresAt: k.ExpiresAt.Std(),
		IPAllow: networksOf(k.IPAllow), Metadata: k.Metadata, Overrides: overridesOf(k.Overrides),
	}
}

// apply applies the patch to a key. The service rejects a change of the members
// that can't be changed.
func (k *updateKeyRequest) apply(key *models.APIKey) {
	set(&key.ID, k.ID)
	set(&key.Subject, k.Subject)
	if created := k.CreatedAt; created.Present && !key.CreatedAt.Equal(*created.Value.Std()) {
		key.CreatedAt = *created.Value.Std()
	}
	set(&key.Name, k.Name)
	set(&key.Plan, k.Plan)
	set(&key.Scopes, k.Scopes)
	set(&key.Owner, k.Owner)
	if k.ExpiresAt.Present {
		key.ExpiresAt = k.ExpiresAt.Value.Std()
	}
	if k.IPAllow.Present {
		key.IPAllow = networksOf(orEmpty(k.IPAllow.Value))
	}
	if k.Overrides.Present {
		key.Overrides = overridesOf(orEmpty(k.Overrides.Value))
	}
	switch {
	case k.Metadata.Present && k.Metadata.Value == nil:
		key.Metadata = map[string]string{}
	case k.Metadata.Present:
		for name, value := range *k.Metadata.Value {
			if value == nil {
				delete(key.Metadata, name)
			} else {
				key.Metadata[name] = *value
			}
		}
	}
}

func set[T any](into *T, value binding.Optional[T]) {
	if value.Present {
		*into = value.Value
	}
}

// orEmpty returns the list, which null removes.
func orEmpty[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}

func networksOf(list []binding.Network) []netip.Prefix {
	networks := make([]netip.Prefix, len(list))
	for i, n := range list {
		networks[i] = netip.Prefix(n)
	}
	return networks
}

func overridesOf(list []keyOverrideRequest) []models.Override {
	overrides := make([]models.Override, len(list))
	for i, o := range list {
		overrides[i] = models.Override{Policy: ratelimit.Policy(o.Policy), ExpiresAt: o.ExpiresAt.Std(), Reason: o.Reason}
	}
	return overrides
}

func validateScopes(faults *models.Faults, scopes []models.Scope) {
	for i, scope := range scopes {
		switch {
		case !scope.Known():
			faults.Add("enum", fmt.Sprintf("must be one of %v", models.AllScopes()), "scopes", strconv.Itoa(i))
		case slices.Contains(scopes[:i], scope):
			faults.Add("duplicate", "is repeated", "scopes", strconv.Itoa(i))
		}
	}
}

func validateOverrides(faults *models.Faults, overrides []keyOverrideRequest) {
	names := map[string]bool{}
	for i, o := range overrides {
		at := strconv.Itoa(i)
		if o.Policy.Name != "" && names[o.Policy.Name] {
			faults.Add("duplicate", "must be unique among the overrides", "overrides", at, "policy", "name")
		}
		names[o.Policy.Name] = true
	}
}

// listKeys is the input of GET /v1/admin/keys.
type listKeys struct {
	Filter keyFilter
	Page   page
}

// keyFilter selects keys.
type keyFilter struct {
	Owner  string           `form:"owner" maxLength:"200" example:"own_5HqT1bZr8wYk"` // Only keys of this owner
	Plan   string           `form:"plan" maxLength:"200" example:"free"`              // Only keys on this plan
	Status models.KeyStatus `form:"status" enums:"active,suspended,expired,revoked"`  // Only keys with this status
	Search string           `form:"q" maxLength:"200"`                                // Only keys whose name or owner contains this text, ignoring case, and the key with this id
}

func (f *keyFilter) toModel() models.KeyFilter {
	return models.KeyFilter{Owner: f.Owner, Plan: f.Plan, Status: f.Status, Search: f.Search}
}
