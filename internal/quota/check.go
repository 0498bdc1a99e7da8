package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Plans and overrides are validated one by one where they are read. This file
// validates the quota that they form together, whichever of them is written.

// CheckQuota validates, in the transaction of a change to a key, that the plan
// exists and that its policies merged with the overrides form a quota. It locks
// the plan until the transaction ends. Errors: KindInvalid at plan or overrides;
// models.ErrUnavailable.
func (*Plans) CheckQuota(ctx context.Context, tx pgx.Tx, plan string, overrides []models.Override) error {
	var faults models.Faults
	var policies []ratelimit.Policy
	err := tx.QueryRow(ctx, `SELECT policies FROM plans WHERE name = $1 FOR SHARE`, plan).Scan(&policies)
	if errors.Is(err, pgx.ErrNoRows) {
		faults.Add("unknown", fmt.Sprintf("there is no plan %q", plan), "plan")
		return faults.Err()
	}
	if err != nil {
		return postgres.Classify("read plan", err)
	}
	if n := len(merge(policies, overrides, time.Now())); n > ratelimit.MaxPolicies {
		faults.Add(ratelimit.FaultMaxItems, fmt.Sprintf(
			"make %d policies with those of plan %s; a key can have at most %d", n, plan, ratelimit.MaxPolicies), "overrides")
	}
	return faults.Err()
}

// checkKeys validates that every key on the plan still has a quota: its
// overrides and the new policies together may not be too many.
func checkKeys(ctx context.Context, tx pgx.Tx, spec models.NewPlan) error {
	rows, err := tx.Query(ctx, `SELECT id, overrides FROM api_keys WHERE plan = $1 AND overrides <> '[]'`, spec.Name)
	if err != nil {
		return postgres.Classify("read keys of plan", err)
	}
	var faults models.Faults
	var id string
	var overrides []models.Override
	now := time.Now()
	_, err = pgx.ForEachRow(rows, []any{&id, &overrides}, func() error {
		if n := len(merge(spec.Policies, overrides, now)); n > ratelimit.MaxPolicies {
			faults.Add(ratelimit.FaultMaxItems, fmt.Sprintf(
				"would give key %s, which has overrides, %d policies; a key can have at most %d", id, n, ratelimit.MaxPolicies), "policies")
		}
		overrides = nil
		return nil
	})
	if err != nil {
		return postgres.Classify("read keys of plan", err)
	}
	return faults.Err()
}

// merge returns policies with each override that is active at now in place of
// the policy with its name, or at the end.
func merge(policies []ratelimit.Policy, overrides []models.Override, now time.Time) []ratelimit.Policy {
	merged := slices.Clone(policies)
	for _, o := range overrides {
		if !o.ActiveAt(now) {
			continue
		}
		at := slices.IndexFunc(merged, func(p ratelimit.Policy) bool { return p.Name == o.Policy.Name })
		if at >= 0 {
			merged[at] = o.Policy
		} else {
			merged = append(merged, o.Policy)
		}
	}
	return merged
}
