package apikeys

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Change lets apply set a key's name, plan, scopes, owner, expiry, allow-list,
// metadata and overrides, and returns the result. An unchanged key keeps its
// version. Errors: models.ErrNotFound; KindInvalid with every fault (see check);
// KindForbidden; KindConflict for the last admin key; KindPreconditionFailed;
// models.ErrUnavailable.
func (s *Store) Change(ctx context.Context, id string, condition models.Precondition, apply func(*models.APIKey)) (key models.APIKey, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := lockOne(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		after := before
		after.Metadata = maps.Clone(before.Metadata)
		after.Scopes, after.IPAllow, after.Overrides = slices.Clone(before.Scopes), slices.Clone(before.IPAllow), slices.Clone(before.Overrides)
		apply(&after)
		if err := authorize(ctx, slices.Concat(before.Scopes, after.Scopes), after.Owner != before.Owner); err != nil {
			return nil, err
		}
		if err := authorizeGrants(ctx, &before, after); err != nil {
			return nil, err
		}
		if err := condition.Check(before.Version); err != nil {
			return nil, err
		}
		if key = before; reflect.DeepEqual(before, after) {
			return nil, nil
		}
		if err := s.check(ctx, tx, before, after); err != nil {
			return nil, err
		}
		if err := checkExpiryExtension(ctx, tx, before, after); err != nil {
			return nil, err
		}
		key, err = one(ctx, tx, `
			UPDATE api_keys SET name = $2, plan = $3, scopes = $4, owner = $5, expires_at = $6, ip_allow = $7,
			       metadata = $8, overrides = $9, version = version + 1
			WHERE id = $1 RETURNING `+columns,
			id, after.Name, after.Plan, after.Scopes, after.Owner, after.ExpiresAt, after.IPAllow, after.Metadata, after.Overrides)
		if err != nil {
			return nil, err
		}
		return s.changed(ctx, tx, []models.APIKey{before}, []models.APIKey{key},
			models.AuditRecord{Action: "key.change", Target: id, Before: audited(before), After: audited(key)})
	})
	return key, postgres.Classify("change key", err)
}

// changed completes a change of keys: it checks that an admin key remains, and
// audits the change.
func (s *Store) changed(ctx context.Context, tx pgx.Tx, before, after []models.APIKey, records ...models.AuditRecord) ([]models.APIKey, error) {
	if err := s.keepAnAdmin(ctx, tx, before, after); err != nil {
		return nil, err
	}
	return after, audit.Append(ctx, tx, records...)
}

// Reset audits that a key's counters of these policies (none: all) are reset,
// and then calls reset, outside the transaction. Errors: models.ErrNotFound;
// KindForbidden; reset's; models.ErrUnavailable.
func (s *Store) Reset(ctx context.Context, id string, policies []string, reset func(context.Context) error) error {
	err := s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		key, err := lockOne(ctx, tx, id)
		if err == nil {
			err = authorize(ctx, key.Scopes, false)
		}
		if err != nil {
			return nil, err
		}
		after := map[string]any{"policies": policies}
		if len(policies) == 0 {
			after["policies"] = "all"
		}
		return nil, audit.Append(ctx, tx, models.AuditRecord{Action: "key.reset", Target: id, After: after})
	})
	if err != nil {
		return postgres.Classify("reset counters", err)
	}
	return reset(ctx)
}
