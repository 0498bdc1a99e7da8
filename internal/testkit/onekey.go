package testkit

import (
	"context"
	"time"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// OneKey knows one key, whatever is presented, as the cache does when it is
// hot: a middleware.Quotas without storage.
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
