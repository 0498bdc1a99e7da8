package handlers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// createKey is the body of POST /v1/admin/keys.
type createKey struct {
	Name      string                   `json:"name" validate:"required" minLength:"1" maxLength:"200" example:"Checkout service"`                         // what operators call it
	Plan      optional[string]         `json:"plan" swaggertype:"string" example:"free"`                                                                  // default: free
	Scopes    optional[[]models.Scope] `json:"scopes" swaggertype:"array,string" example:"products:read,orders:read"`                                     // default: products:read, orders:read, orders:write
	Owner     optional[string]         `json:"owner" swaggertype:"string" maxLength:"100" example:"own_5HqT1bZr8wYk"`                                     // default: a new one
	ExpiresAt *timestamp               `json:"expires_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"` // null: never
	IPAllow   []network                `json:"ip_allow" swaggertype:"array,string" maxItems:"100" example:"203.0.113.0/24"`                               // default: anywhere
	Metadata  map[string]string        `json:"metadata"`                                                                                                  // labels, for the operator's own use
	Overrides []writeOverride          `json:"overrides" maxItems:"16"`                                                                                   // policies of its own, laid over the plan's by name

	groups []string
}

// writeOverride is an override in a body.
type writeOverride struct {
	Policy    ratelimit.Policy `json:"policy" validate:"required"`                                                                                // what holds in place of the plan's policy of this name
	ExpiresAt *timestamp       `json:"expires_at" swaggertype:"string" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"` // null: never
	Reason    string           `json:"reason" maxLength:"500" example:"Launch week"`                                                              // why, for whoever looks later
}

// patchKey is the body of PATCH /v1/admin/keys/{id}, a JSON merge patch:
// keyPatch says what swag can't read here.
type patchKey struct {
	Name      optional[string]              `json:"name"`
	Plan      optional[string]              `json:"plan"`
	Scopes    optional[[]models.Scope]      `json:"scopes"`
	Owner     optional[string]              `json:"owner"`
	ExpiresAt optional[*timestamp]          `json:"expires_at"`
	IPAllow   optional[*[]network]          `json:"ip_allow"`
	Metadata  optional[*map[string]*string] `json:"metadata"`
	Overrides optional[*[]writeOverride]    `json:"overrides"`

	groups []string
}

// keyPatch is what a JSON merge patch (RFC 7396) may change of a key.
// What it doesn't name stays; null takes a value away; lists are replaced
// whole.
type keyPatch struct {
	Name      string          `json:"name" minLength:"1" maxLength:"200" example:"Checkout service"` // what operators call it
	Plan      string          `json:"plan" example:"pro"`                                            // whose policies it has
	Scopes    []string        `json:"scopes" example:"products:read"`                                // what it may do
	Owner     string          `json:"owner" maxLength:"100" example:"own_5HqT1bZr8wYk"`              // another one: needs the scope admin
	ExpiresAt string          `json:"expires_at" format:"date-time" extensions:"x-nullable" example:"2037-01-15T09:30:00Z"`
	IPAllow   []string        `json:"ip_allow" extensions:"x-nullable" example:"203.0.113.0/24"`
	Metadata  map[string]any  `json:"metadata" extensions:"x-nullable"`  // strings; null removes one
	Overrides []writeOverride `json:"overrides" extensions:"x-nullable"` // policies of its own; null: none
}

var _ keyPatch // the description alone uses it

func (k *createKey) policyGroups() []string { return k.groups }
func (k *patchKey) policyGroups() []string  { return k.groups }

func (k *createKey) validate(faults *models.Faults) {
	validateLength(faults, "/name", k.Name, maxKeyName)
	validateCommon(faults, k.Plan, k.Scopes, k.Owner)
	validateExpiry(faults, "/expires_at", k.ExpiresAt)
	validateNetworks(faults, k.IPAllow)
	for _, name := range slices.Sorted(maps.Keys(k.Metadata)) {
		validateMetadata(faults, name, k.Metadata[name])
	}
	validateMetadataSize(faults, len(k.Metadata))
	validateOverrides(faults, k.Overrides)
}

func (k *patchKey) validate(faults *models.Faults) {
	if k.Name.Present {
		validateLength(faults, "/name", k.Name.Value, maxKeyName)
	}
	validateCommon(faults, k.Plan, k.Scopes, k.Owner)
	validateExpiry(faults, "/expires_at", k.ExpiresAt.Value)
	if k.IPAllow.Value != nil {
		validateNetworks(faults, *k.IPAllow.Value)
	}
	if metadata := k.Metadata.Value; metadata != nil {
		for _, name := range slices.Sorted(maps.Keys(*metadata)) {
			if value := (*metadata)[name]; value != nil {
				validateMetadata(faults, name, *value)
			}
		}
		validateMetadataSize(faults, len(*metadata))
	}
	if k.Overrides.Value != nil {
		validateOverrides(faults, *k.Overrides.Value)
	}
}

func (k *createKey) toModel() models.NewKey {
	return models.NewKey{
		Name: k.Name, Plan: k.Plan.Value, Scopes: k.Scopes.Value, Owner: k.Owner.Value, ExpiresAt: timeOf(k.ExpiresAt),
		IPAllow: networksOf(k.IPAllow), Metadata: k.Metadata, Overrides: overridesOf(k.Overrides),
	}
}

// apply changes what the patch names.
func (k *patchKey) apply(key *models.APIKey) {
	set(&key.Name, k.Name)
	set(&key.Plan, k.Plan)
	set(&key.Scopes, k.Scopes)
	set(&key.Owner, k.Owner)
	if k.ExpiresAt.Present {
		key.ExpiresAt = timeOf(k.ExpiresAt.Value)
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

func set[T any](into *T, value optional[T]) {
	if value.Present {
		*into = value.Value
	}
}

// orEmpty is the list, and an empty one where null took it away.
func orEmpty[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}

func networksOf(list []network) []netip.Prefix {
	networks := make([]netip.Prefix, len(list))
	for i, n := range list {
		networks[i] = netip.Prefix(n)
	}
	return networks
}

func overridesOf(list []writeOverride) []models.Override {
	overrides := make([]models.Override, len(list))
	for i, o := range list {
		policy, err := json.Marshal(o.Policy)
		if err != nil { // a struct of strings and numbers
			panic(err)
		}
		overrides[i] = models.Override{Policy: policy, ExpiresAt: timeOf(o.ExpiresAt), Reason: o.Reason}
	}
	return overrides
}

// Bounds of a key's fields, texts in bytes. Metadata is for a few labels.
const (
	maxKeyName       = 200
	maxOwner         = 100
	maxNetworks      = 100
	maxMetadata      = 50
	maxMetadataName  = 64
	maxMetadataValue = 500
	maxReason        = 500
)

func validateLength(faults *models.Faults, at, text string, most int) {
	switch {
	case strings.TrimSpace(text) == "":
		faults.Body(at, "required", "must not be empty")
	case len(text) > most:
		faults.Body(at, "max_length", fmt.Sprintf("must be at most %d bytes", most))
	}
}

// validateCommon checks what creating and changing have in common.
func validateCommon(faults *models.Faults, plan optional[string], scopes optional[[]models.Scope], owner optional[string]) {
	if plan.Present && !planName.MatchString(plan.Value) {
		faults.Body("/plan", "pattern", planNameMessage)
	}
	if owner.Present {
		validateLength(faults, "/owner", owner.Value, maxOwner)
	}
	if scopes.Present && len(scopes.Value) == 0 {
		faults.Body("/scopes", "min_items", "must have at least one scope")
	}
	for i, scope := range scopes.Value {
		at := "/scopes/" + strconv.Itoa(i)
		switch {
		case !scope.Known():
			faults.Body(at, "enum", fmt.Sprintf("is no scope; there are: %v", models.AllScopes()))
		case slices.Contains(scopes.Value[:i], scope):
			faults.Body(at, "duplicate", "stands twice")
		}
	}
}

func validateExpiry(faults *models.Faults, at string, expiry *timestamp) {
	if expiry != nil && !time.Time(*expiry).After(time.Now()) {
		faults.Body(at, "past", "must be in the future; to end a key now, revoke it")
	}
}

func validateNetworks(faults *models.Faults, networks []network) {
	if len(networks) > maxNetworks {
		faults.Body("/ip_allow", "max_items", fmt.Sprintf("must have at most %d networks", maxNetworks))
	}
}

func validateMetadataSize(faults *models.Faults, n int) {
	if n > maxMetadata {
		faults.Body("/metadata", "max_items", fmt.Sprintf("must have at most %d entries", maxMetadata))
	}
}

func validateMetadata(faults *models.Faults, name, value string) {
	at := "/metadata/" + escapePointer(name)
	switch {
	case name == "" || len(name) > maxMetadataName:
		faults.Body(at, "name", fmt.Sprintf("must have a name of 1 to %d bytes", maxMetadataName))
	case len(value) > maxMetadataValue:
		faults.Body(at, "max_length", fmt.Sprintf("must be at most %d bytes", maxMetadataValue))
	}
}

func validateOverrides(faults *models.Faults, overrides []writeOverride) {
	if len(overrides) > ratelimit.MaxPolicies {
		faults.Body("/overrides", "max_items", fmt.Sprintf("must have at most %d overrides", ratelimit.MaxPolicies))
	}
	names := map[string]bool{}
	for i, o := range overrides {
		at := "/overrides/" + strconv.Itoa(i)
		switch {
		case o.Policy == ratelimit.Policy{}:
			faults.Body(at+"/policy", "required", "is required")
		case names[o.Policy.Name]:
			faults.Body(at+"/policy/name", "duplicate", "must be unique among the overrides")
		}
		names[o.Policy.Name] = true
		if len(o.Reason) > maxReason {
			faults.Body(at+"/reason", "max_length", fmt.Sprintf("must be at most %d bytes", maxReason))
		}
		validateExpiry(faults, at+"/expires_at", o.ExpiresAt)
	}
}
