package main

import (
	"context"

	"ratelimiter/internal/quota"
	"ratelimiter/models"
)

// announcer is where every committed change of a key or a plan is told: the one
// place that knows who has to hear of it.
type announcer struct {
	quotas *quota.Service
	checks *quota.Checks
}

var _ models.Announcer = announcer{}

// Changed makes this instance forget what it knew, before the change is
// answered.
func (a announcer) Changed(_ context.Context, kind models.ChangeKind, id string, _ int64) {
	switch kind {
	case models.ChangedKey:
		a.quotas.Invalidate(id)
	case models.ChangedPlan:
		a.quotas.InvalidatePlan(id)
		a.checks.InvalidatePlan(id)
	}
}
