package quota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// A plan and a key's overrides are each checked when they are written; here is
// checked that they make a quota together, whichever of the two is written.

// CheckQuota checks, in the transaction of a change to a key, that there is the
// plan, and that its policies with the overrides make a quota; until the
// transaction ends, the plan stays as it is. Errors: *models.InvalidError, at
// /plan and /overrides; the database's.
func (*Plans) CheckQuota(ctx context.Context, tx pgx.Tx, plan string, overrides []models.Override) error {
	var faults models.Faults
	var stored []byte
	err := tx.QueryRow(ctx, `SELECT policies FROM plans WHERE name = $1 FOR SHARE`, plan).Scan(&stored)
	if errors.Is(err, pgx.ErrNoRows) {
		faults.Body("/plan", "unknown", fmt.Sprintf("there is no plan %q; GET /v1/admin/plans lists them", plan))
		return faults.Err()
	}
	if err != nil {
		return err
	}
	policies, err := ratelimit.ParsePolicies(stored)
	if err != nil {
		return fmt.Errorf("plan %s: %w", plan, err)
	}
	policies, err = overlay(policies, overrides, time.Now())
	if err != nil {
		return err
	}
	if len(policies) > ratelimit.MaxPolicies {
		faults.Body("/overrides", ratelimit.FaultMaxItems, fmt.Sprintf(
			"make %d policies with those of plan %s; a key can have at most %d", len(policies), plan, ratelimit.MaxPolicies))
	}
	return faults.Err()
}

// fitsKeys checks that every key on the plan still has a quota: its overrides
// and the plan's policies together may not be too many.
func fitsKeys(ctx context.Context, tx pgx.Tx, spec models.NewPlan) error {
	rows, err := tx.Query(ctx, `SELECT id, overrides FROM api_keys WHERE plan = $1 AND overrides <> '[]'`, spec.Name)
	if err != nil {
		return err
	}
	policies, err := ratelimit.ParsePolicies(spec.Policies)
	if err != nil {
		rows.Close()
		return fmt.Errorf("policies that were not checked: %w", err)
	}
	var faults models.Faults
	var id string
	var overrides []models.Override
	_, err = pgx.ForEachRow(rows, []any{&id, &overrides}, func() error {
		quota, err := overlay(slices.Clone(policies), overrides, time.Now())
		if err == nil && len(quota) > ratelimit.MaxPolicies {
			faults.Body("/policies", ratelimit.FaultMaxItems, fmt.Sprintf(
				"would give key %s, which has overrides, %d policies; a key can have at most %d", id, len(quota), ratelimit.MaxPolicies))
		}
		overrides = nil
		return err
	})
	if err != nil {
		return err
	}
	return faults.Err()
}
