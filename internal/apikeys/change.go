package apikeys

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/models"
)

// lock returns a key, locked until tx ends. Errors: models.ErrNotFound; the
// database's.
func lock(ctx context.Context, tx pgx.Tx, id string) (models.APIKey, error) {
	key, err := one(ctx, tx, `SELECT `+columns+` FROM api_keys WHERE id = $1 FOR UPDATE`, id)
	return key, found(id, err)
}

// Change lets apply set a key's name, plan, scopes, owner, expiry, allow-list,
// metadata and overrides, and returns it as it is then. A key that is so
// already stays in its version. Errors: models.ErrNotFound;
// *models.InvalidError (unknown plan or scope, too many policies);
// *models.StatusError (403, 409 for the last admin key, 412);
// models.ErrUnavailable.
func (s *Store) Change(ctx context.Context, id string, expected models.Expected, apply func(*models.APIKey)) (key models.APIKey, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := lock(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		after := before
		after.Metadata = maps.Clone(before.Metadata)
		after.Scopes, after.IPAllow, after.Overrides = slices.Clone(before.Scopes), slices.Clone(before.IPAllow), slices.Clone(before.Overrides)
		apply(&after)
		if err := authority(ctx, slices.Concat(before.Scopes, after.Scopes), after.Owner != before.Owner); err != nil {
			return nil, err
		}
		if err := expected.Check(before.Version); err != nil {
			return nil, err
		}
		if err := validate(&NewKey{Name: after.Name, Scopes: after.Scopes, Metadata: after.Metadata}); err != nil {
			return nil, err
		}
		if key = before; same(before, after) {
			return nil, nil
		}
		if err := staysEnding(ctx, tx, before, after); err != nil {
			return nil, err
		}
		if err := s.checkQuota(ctx, tx, after.Plan, after.Overrides); err != nil {
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
	return key, failure("change key", err)
}

// same reports whether two states of a key are equal, however the JSON of their
// policies is spelled.
func same(a, b models.APIKey) bool {
	overrides := slices.EqualFunc(a.Overrides, b.Overrides, func(a, b models.Override) bool {
		var p, q any
		// What can't be decoded is equal to nothing.
		decoded := json.Unmarshal(a.Policy, &p) == nil && json.Unmarshal(b.Policy, &q) == nil
		a.Policy, b.Policy = nil, nil
		return decoded && reflect.DeepEqual(p, q) && reflect.DeepEqual(a, b)
	})
	a.Overrides, b.Overrides = nil, nil
	return overrides && reflect.DeepEqual(a, b)
}

// changed ends a change of one key: not without an admin, and not without its
// audit.
func (s *Store) changed(ctx context.Context, tx pgx.Tx, action string, before, after models.APIKey) ([]models.APIKey, error) {
	if err := keepAnAdmin(ctx, tx, before, after); err != nil {
		return nil, err
	}
	change := models.Change{Action: action, Target: before.ID, Before: audited(before), After: audited(after)}
	return []models.APIKey{after}, audit.Append(ctx, tx, change)
}

// Revoke ends a key for good and returns it. A key that is revoked already
// stays as it is. Errors: models.ErrNotFound; *models.StatusError (403, 409 for
// the last admin key, 412); models.ErrUnavailable.
func (s *Store) Revoke(ctx context.Context, id string, expected models.Expected) (key models.APIKey, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := s.lockFor(ctx, tx, id, expected)
		if key = before; err != nil || before.RevokedAt != nil {
			return nil, err
		}
		key, err = one(ctx, tx, `UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1 RETURNING `+columns, id)
		if err != nil {
			return nil, err
		}
		return s.changed(ctx, tx, "key.revoke", before, key)
	})
	return key, failure("revoke key", err)
}

// lockFor locks a key that whoever acts may change, in the expected version.
func (s *Store) lockFor(ctx context.Context, tx pgx.Tx, id string, expected models.Expected) (models.APIKey, error) {
	key, err := lock(ctx, tx, id)
	if err == nil {
		err = authority(ctx, key.Scopes, false)
	}
	if err == nil {
		err = expected.Check(key.Version)
	}
	return key, err
}

// Reset audits that a key's counters of these policies (none: all) are reset,
// and lets reset do it before that is committed. Errors: models.ErrNotFound;
// *models.StatusError (403); reset's; models.ErrUnavailable.
func (s *Store) Reset(ctx context.Context, id string, policies []string, reset func(context.Context) error) error {
	err := s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		if _, err := s.lockFor(ctx, tx, id, models.Expected{}); err != nil {
			return nil, err
		}
		after := map[string]any{"policies": policies}
		if len(policies) == 0 {
			after["policies"] = "all"
		}
		if err := audit.Append(ctx, tx, models.Change{Action: "key.reset", Target: id, After: after}); err != nil {
			return nil, err
		}
		return nil, reset(ctx)
	})
	if errors.Is(err, context.Canceled) {
		return err
	}
	return failure("reset counters", err)
}
