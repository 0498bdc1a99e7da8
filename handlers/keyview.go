package handlers

import (
	"net/netip"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Key is an API key as operators see it: all but its secret.
type Key struct {
	ID         string            `json:"id" example:"9Kx2mV4tQaLp"`                                    // names the key; it is the middle part of its text too
	Name       string            `json:"name" example:"Checkout service"`                              // what operators call it
	Plan       string            `json:"plan" example:"free"`                                          // whose policies it has
	Scopes     []models.Scope    `json:"scopes" example:"products:read,orders:read"`                   // what it may do
	Owner      string            `json:"owner" example:"own_5HqT1bZr8wYk"`                             // groups keys; orders belong to it
	Subject    string            `json:"subject" example:"9Kx2mV4tQaLp"`                               // whose counters it spends; a rotated key keeps its predecessor's
	Status     models.KeyStatus  `json:"status" enums:"active,expired,revoked" example:"active"`       // whether it works
	IPAllow    []netip.Prefix    `json:"ip_allow" swaggertype:"array,string" example:"203.0.113.0/24"` // where it may be used; empty: anywhere
	Metadata   map[string]string `json:"metadata"`                                                     // labels, for the operator's own use
	Overrides  []KeyOverride     `json:"overrides"`                                                    // policies of its own, laid over the plan's by name
	CreatedAt  time.Time         `json:"created_at" example:"2026-01-15T09:30:00Z"`                    // when it was made
	ExpiresAt  *time.Time        `json:"expires_at" example:"2037-01-15T09:30:00Z"`                    // until when it works; null: for good
	LastUsedAt *time.Time        `json:"last_used_at" example:"2026-01-15T09:30:00Z"`                  // when it was last used, to the minute or so; null: never
	Version    int64             `json:"version" minimum:"1" example:"1"`                              // raised by operators' writes; it is the ETag
}

// KeyOverride is a policy of a key's own: it replaces the plan's of that name,
// or adds one.
type KeyOverride struct {
	Policy    ratelimit.Policy `json:"policy"`                                    // what holds in place of the plan's policy of this name
	ExpiresAt *time.Time       `json:"expires_at" example:"2037-01-15T09:30:00Z"` // from then on the plan counts again; null: never
	Reason    string           `json:"reason" example:"Launch week"`              // why, for whoever looks later
}

// KeyWithSecret is a new key with its text, which stands nowhere else.
type KeyWithSecret struct {
	Secret string `json:"key" example:"rl_live_9Kx2mV4tQaLp_…"` // shown this once
	Key
}

// KeyWithQuota is a key with what holds for it now.
type KeyWithQuota struct {
	Key
	Quota []QuotaPolicy `json:"quota"` // the policies that hold now
}

// QuotaPolicy is one policy of a key's quota.
type QuotaPolicy struct {
	ratelimit.Policy
	Origin models.Origin `json:"origin" enums:"plan,override" example:"plan"` // where the policy comes from
}

// ShowKey returns a key as operators see it at now.
func ShowKey(key models.APIKey, now time.Time) Key {
	shown := Key{
		ID: key.ID, Name: key.Name, Plan: key.Plan, Scopes: key.Scopes, Owner: key.Owner, Subject: key.Subject,
		Status: key.Status(now), IPAllow: key.IPAllow, Metadata: key.Metadata, Overrides: make([]KeyOverride, len(key.Overrides)),
		CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt, LastUsedAt: key.LastUsedAt, Version: key.Version,
	}
	for i, o := range key.Overrides {
		shown.Overrides[i] = KeyOverride(o)
	}
	return shown
}

// showQuota returns a key's policies with their origins.
func showQuota(key *models.APIKey, quota *ratelimit.Quota, now time.Time) []QuotaPolicy {
	policies := quota.Policies()
	shown := make([]QuotaPolicy, len(policies))
	for i, policy := range policies {
		shown[i] = QuotaPolicy{policy, key.OriginOf(policy.Name, now)}
	}
	return shown
}

// KeyLimits is where all policies of a key stand.
type KeyLimits struct {
	Data []Limit `json:"data"` // one entry for each policy
}

func showLimits(decision *ratelimit.Decision) KeyLimits {
	return KeyLimits{Data: append(showStatuses(decision.Statuses()), showStatuses(decision.Shadows())...)}
}
