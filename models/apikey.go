package models

import (
	"net/netip"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

// KeyStatus is the state of a key.
type KeyStatus string

// The states of a key. Only an active key authenticates.
const (
	KeyActive    KeyStatus = "active"    // can be used
	KeySuspended KeyStatus = "suspended" // refused with 403 until it is resumed
	KeyExpired   KeyStatus = "expired"   // its expiry or grace period has passed: refused with 401
	KeyRevoked   KeyStatus = "revoked"   // ended for good: refused with 401
)

// APIKey is a caller's credential without its secret, of which only an HMAC is
// stored (see internal/apikeys).
type APIKey struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Plan        string            `json:"plan"`
	Scopes      []Scope           `json:"scopes"`
	Owner       string            `json:"owner"`   // groups keys; orders belong to it
	Subject     string            `json:"subject"` // whose counters the key spends: the id of the first key of a chain of rotations
	IPAllow     []netip.Prefix    `json:"ip_allow"`
	Metadata    map[string]string `json:"metadata"`
	Overrides   []Override        `json:"overrides"`
	CreatedAt   time.Time         `json:"created_at"`
	ExpiresAt   *time.Time        `json:"expires_at"` // nil: never
	SuspendedAt *time.Time        `json:"-"`          // nil: not suspended; shown as the status
	RevokedAt   *time.Time        `json:"-"`          // nil: not revoked; shown as the status
	LastUsedAt  *time.Time        `json:"last_used_at"`
	Version     int64             `json:"version"` // raised by operators' writes only
}

// Override is a policy of one key. It replaces the plan's policy of the same
// name, or adds one.
type Override struct {
	Policy    ratelimit.Policy `json:"policy"`
	ExpiresAt *time.Time       `json:"expires_at"` // the plan applies again from then on; nil: never
	Reason    string           `json:"reason"`     // for operators
}

// ActiveAt reports whether the override applies at now.
func (o *Override) ActiveAt(now time.Time) bool {
	return o.ExpiresAt == nil || now.Before(*o.ExpiresAt)
}

// PolicyOrigin is where a policy of a quota comes from.
type PolicyOrigin string

// The origins of policies.
const (
	OriginPlan     PolicyOrigin = "plan"     // the key's plan
	OriginOverride PolicyOrigin = "override" // an override of the key, which replaces the plan's policy of this name or adds one
)

// OriginOf returns the origin, at now, of the policy with this name in the
// key's quota.
func (k *APIKey) OriginOf(policy string, now time.Time) PolicyOrigin {
	for i := range k.Overrides {
		if o := &k.Overrides[i]; o.ActiveAt(now) && o.Policy.Name == policy {
			return OriginOverride
		}
	}
	return OriginPlan
}

// Status returns the key's state at now. A revoked key stays revoked when it
// expires, and an expired one isn't suspended: resuming it would not help.
func (k *APIKey) Status(now time.Time) KeyStatus {
	switch {
	case k.RevokedAt != nil:
		return KeyRevoked
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return KeyExpired
	case k.SuspendedAt != nil:
		return KeySuspended
	default:
		return KeyActive
	}
}

// Usable returns why the key can't be used at now: ErrKeySuspended, or
// ErrInvalidKey; nil: it can.
func (k *APIKey) Usable(now time.Time) error {
	switch k.Status(now) {
	case KeyActive:
		return nil
	case KeySuspended:
		return ErrKeySuspended
	default:
		return ErrInvalidKey
	}
}

// Has reports whether the key holds scope, itself or by ScopeAdmin.
func (k *APIKey) Has(scope Scope) bool {
	return slices.Contains(k.Scopes, scope) || slices.Contains(k.Scopes, ScopeAdmin)
}

// IsAdmin reports whether the key holds any admin scope. Such keys are never
// served from a stale cache entry.
func (k *APIKey) IsAdmin() bool {
	return slices.ContainsFunc(k.Scopes, func(s Scope) bool {
		switch s {
		case ScopeAdmin, ScopeAdminKeys, ScopeAdminPlans, ScopeAdminQueues, ScopeAdminAudit:
			return true
		default:
			return false
		}
	})
}

// AllowsAddress reports whether the key may be used from addr. A key without
// an allow-list may be used from anywhere. IPv4 addresses mapped to IPv6 are
// treated as IPv4.
func (k *APIKey) AllowsAddress(addr netip.Addr) bool {
	if len(k.IPAllow) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(k.IPAllow, func(p netip.Prefix) bool { return p.Contains(addr) })
}
