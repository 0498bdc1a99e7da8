package handlers

import (
	"net/netip"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Key is an API key as operators see it, without its secret.
type Key struct {
	ID         string            `json:"id" example:"9Kx2mV4tQaLp"`                                        // id, which is also the middle part of the key's text
	Name       string            `json:"name" example:"Checkout service"`                                  // name, for operators
	Plan       string            `json:"plan" example:"free"`                                              // plan whose policies apply
	Scopes     []models.Scope    `json:"scopes" example:"products:read,orders:read"`                       // scopes that the key holds
	Owner      string            `json:"owner" example:"own_5HqT1bZr8wYk"`                                 // owner, which groups keys; orders belong to the owner
	Subject    string            `json:"subject" example:"9Kx2mV4tQaLp"`                                   // subject whose counters are spent; a rotated key keeps its predecessor's
	Status     models.KeyStatus  `json:"status" enums:"active,suspended,expired,revoked" example:"active"` // state of the key
	IPAllow    []netip.Prefix    `json:"ip_allow" swaggertype:"array,string" example:"203.0.113.0/24"`     // networks that may use the key; empty: all
	Metadata   map[string]string `json:"metadata"`                                                         // labels, for operators
	Overrides  []KeyOverride     `json:"overrides"`                                                        // policies that replace the plan's policies of the same name, or are added
	CreatedAt  time.Time         `json:"created_at" example:"2026-01-15T09:30:00Z"`                        // when the key was created
	ExpiresAt  *time.Time        `json:"expires_at" example:"2037-01-15T09:30:00Z"`                        // when the key expires; null: never
	LastUsedAt *time.Time        `json:"last_used_at" example:"2026-01-15T09:30:00Z"`                      // when the key was last used, within about a minute; null: never
	Version    int64             `json:"version" minimum:"1" example:"1"`                                  // increases with every change by operators; it is the ETag
}

// KeyOverride is a policy of one key. It replaces the plan's policy of the same
// name, or adds one.
type KeyOverride struct {
	Policy    ratelimit.Policy `json:"policy"`                                    // replaces the plan's policy of this name
	ExpiresAt *time.Time       `json:"expires_at" example:"2037-01-15T09:30:00Z"` // when the plan applies again; null: never
	Reason    string           `json:"reason" example:"Launch week"`              // reason, for operators
}

// KeyWithSecret is a new key with its text, which is shown only once.
type KeyWithSecret struct {
	Secret string `json:"key" example:"rl_live_9Kx2mV4tQaLp_…"` // text of the key, shown only once
	Key
}

// KeyWithQuota is a key with the policies that apply to it now.
type KeyWithQuota struct {
	Key
	Quota []QuotaPolicy `json:"quota"` // policies that apply now
}

// QuotaPolicy is one policy of a key's quota.
type QuotaPolicy struct {
	ratelimit.Policy
	Origin models.PolicyOrigin `json:"origin" enums:"plan,override" example:"plan"` // where the policy comes from
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

// ShowKeyWithQuota returns a key with its quota as operators see it at now.
func ShowKeyWithQuota(key *models.APIKey, quota *ratelimit.Quota, now time.Time) KeyWithQuota {
	return KeyWithQuota{ShowKey(*key, now), showQuota(key, quota, now)}
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

// KeyLimits is the state of all policies of a key.
type KeyLimits struct {
	Data []models.Limit `json:"data"` // one entry per policy
}

func showLimits(decision *ratelimit.Decision) KeyLimits {
	return KeyLimits{Data: append(models.LimitsOf(decision.Statuses()), models.LimitsOf(decision.Shadows())...)}
}
