package models

import "slices"

// Scope is a permission of a key. It is also the policy group of the routes that
// require it.
type Scope string

// The scopes that a key can hold. ScopeAdmin includes all the others.
const (
	ScopeProductsRead  Scope = "products:read"  // read products
	ScopeProductsWrite Scope = "products:write" // create, change and delete products
	ScopeOrdersRead    Scope = "orders:read"    // read the owner's orders and their invoices
	ScopeOrdersWrite   Scope = "orders:write"   // place orders
	ScopeLimitsCheck   Scope = "limits:check"   // check and reserve limits for subjects of one's own
	ScopeAdminKeys     Scope = "admin:keys"     // manage API keys, and read their usage and refusals
	ScopeAdminPlans    Scope = "admin:plans"    // manage plans and the global enforcement mode
	ScopeAdminQueues   Scope = "admin:queues"   // manage message queues and dead letters
	ScopeAdminAudit    Scope = "admin:audit"    // read the audit
	ScopeAdmin         Scope = "admin"          // everything: includes all other scopes
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
