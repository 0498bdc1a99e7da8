package app

import (
	"context"
	"time"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/quota"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// ticketResolver implements middleware.Tickets.
type ticketResolver struct {
	tickets *apikeys.Tickets
	quotas  *quota.Resolver
}

// Redeem uses up a ticket and returns its key and that key's quota.
func (r *ticketResolver) Redeem(ctx context.Context, ticket string, now time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	id, err := r.tickets.Redeem(ctx, ticket)
	if err != nil {
		return nil, nil, err
	}
	return r.quotas.ResolveID(ctx, id, now)
}
