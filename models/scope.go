package models

import "slices"

// Scope is a permission of a key. It is also the policy group of the routes that
// require it.
type Scope string

// The scopes that a key can hold. ScopeAdmin includes all the others.
const (
	ScopeProductsRead  Scope = "products:read"
	ScopeProductsWrite Scope = "products:write"
	ScopeOrdersRead    Scope = "orders:read"
	ScopeOrdersWrite   Scope = "orders:write"
	ScopeLimitsCheck   Scope = "limits:check"
	ScopeAdminKeys     Scope = "admin:keys"
	ScopeAdminPlans    Scope = "admin:plans"
	ScopeAdminQueues   Scope = "admin:queues"
	ScopeAdminAudit    Scope = "admin:audit"
	ScopeAdmin         Scope = "admin"
)

// AllScopes lists every scope, in the order that they are documented in.
func AllScopes() []Scope {
	return []Scope{
		ScopeProductsRead, ScopeProductsWrite, ScopeOrdersRead, ScopeOrdersWrite, ScopeLimitsCheck,
		ScopeAdminKeys, ScopeAdminPlans, ScopeAdminQueues, ScopeAdminAudit, ScopeAdmin,
	}
}

// DefaultScopes returns the scopes of a key that is created without any.
func DefaultScopes() []Scope {
	return []Scope{ScopeProductsRead, ScopeOrdersRead, ScopeOrdersWrite}
}

// Known reports whether s is a scope that a key can hold.
func (s Scope) Known() bool { return slices.Contains(AllScopes(), s) }

// PolicyGroups returns the groups that policies can be limited to: the scopes of
// routes.
func PolicyGroups() []string {
	var groups []string
	for _, s := range AllScopes() {
		if s != ScopeAdmin {
			groups = append(groups, string(s))
		}
	}
	return groups
}
