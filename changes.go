package main

import (
	"context"

	"ratelimiter/internal/quota"
	"ratelimiter/models"
)

// announcer is where every committed change of a key, a plan or the mode is
// told: the one place that knows who has to hear of it.
type announcer struct {
	quotas *quota.Service
	checks *quota.Checks
	others *quota.Notifier // tells the other instances
}

var _ models.Announcer = announcer{}

// Changed makes this instance forget what it knew, before the change is
// answered, and has the others told soon after.
func (a announcer) Changed(ctx context.Context, kind models.ChangeKind, id string, version int64) {
	switch kind {
	case models.ChangedKey:
		a.quotas.Invalidate(id)
	case models.ChangedPlan:
		a.quotas.InvalidatePlan(id)
		a.checks.InvalidatePlan(id)
	case models.ChangedMode: // in force here already
	}
	a.others.Changed(ctx, kind, id, version)
}
