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

// lock returns a key, locked until tx ends. Errors: models.ErrNotFound; the
// database's.
func lock(ctx context.Context, tx pgx.Tx, id string) (models.APIKey, error) {
	key, err := one(ctx, tx, `SELECT `+columns+` FROM api_keys WHERE id = $1 FOR UPDATE`, id)
	return key, postgres.Classify("read key", err)
}

// Change lets apply set a key's name, plan, scopes, owner, expiry, allow-list,
// metadata and overrides, and returns the result. An unchanged key keeps its
// version. Errors: models.ErrNotFound; KindInvalid with every fault (see check);
// KindForbidden; KindConflict for the last admin key; KindPreconditionFailed;
// models.ErrUnavailable.
func (s *Store) Change(ctx context.Context, id string, condition models.Precondition, apply func(*models.APIKey)) (key models.APIKey, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := lock(ctx, tx, id)
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
		return s.changed(ctx, tx, "key.change", before, key)
	})
	return key, postgres.Classify("change key", err)
}

// changed completes a change of one key: it checks that an admin key remains,
// and audits the change.
func (s *Store) changed(ctx context.Context, tx pgx.Tx, action string, before, after models.APIKey) ([]models.APIKey, error) {
	if err := keepAnAdmin(ctx, tx, before, after); err != nil {
		return nil, err
	}
	change := models.AuditRecord{Action: action, Target: before.ID, Before: audited(before), After: audited(after)}
	return []models.APIKey{after}, audit.Append(ctx, tx, change)
}

// Revoke ends a key for good and returns it. A revoked key stays as it is.
// Errors: models.ErrNotFound; KindForbidden; KindConflict for the last admin
// key; KindPreconditionFailed; models.ErrUnavailable.
func (s *Store) Revoke(ctx context.Context, id string, condition models.Precondition) (key models.APIKey, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := s.lockFor(ctx, tx, id, condition)
		if key = before; err != nil || before.RevokedAt != nil {
			return nil, err
		}
		key, err = one(ctx, tx, `UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1 RETURNING `+columns, id)
		if err != nil {
			return nil, err
		}
		return s.changed(ctx, tx, "key.revoke", before, key)
	})
	return key, postgres.Classify("revoke key", err)
}

// lockFor locks a key that the actor may change and that meets the condition.
func (s *Store) lockFor(ctx context.Context, tx pgx.Tx, id string, condition models.Precondition) (models.APIKey, error) {
	key, err := lock(ctx, tx, id)
	if err == nil {
		err = authorize(ctx, key.Scopes, false)
	}
	if err == nil {
		err = condition.Check(key.Version)
	}
	return key, err
}

// Reset audits that a key's counters of these policies (none: all) are reset,
// and then calls reset, outside the transaction. Errors: models.ErrNotFound;
// KindForbidden; reset's; models.ErrUnavailable.
func (s *Store) Reset(ctx context.Context, id string, policies []string, reset func(context.Context) error) error {
	err := s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		if _, err := s.lockFor(ctx, tx, id, models.Precondition{}); err != nil {
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
