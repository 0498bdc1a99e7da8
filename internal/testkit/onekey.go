package testkit

import (
	"context"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// OneKey implements middleware.Quotas without storage: it resolves any presented
// key to the same key and quota, like a hot cache.
type OneKey struct {
	Key   models.APIKey
	Quota *ratelimit.Quota
}

// Cached returns the key and its quota.
func (k *OneKey) Cached(string, time.Time) (*models.APIKey, *ratelimit.Quota, bool) {
	return &k.Key, k.Quota, true
}

// Resolve returns the key and its quota.
func (k *OneKey) Resolve(context.Context, string, time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	return &k.Key, k.Quota, nil
}
