package apikeys

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Rotate creates a successor that equals the old key in everything, including
// expiry and subject. The old key stays valid for grace, 0 to models.MaxGrace,
// but not beyond its own expiry. A key can be rotated once; then its successor
// can be. Errors: models.ErrNotFound; KindForbidden; KindConflict when the key
// has ended or was rotated; KindPreconditionFailed; models.ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, id string, grace time.Duration, condition models.Precondition) (rotation models.Rotation, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := s.lockFor(ctx, tx, id, condition)
		if err != nil {
			return nil, err
		}
		if err := authorizeRotation(ctx, before); err != nil {
			return nil, err
		}
		if err := checkRotatable(ctx, tx, before); err != nil {
			return nil, err
		}
		rotation.Key, rotation.Text, err = s.insert(ctx, tx, models.NewKey{
			Name: before.Name, Plan: before.Plan, Scopes: before.Scopes, Owner: before.Owner, ExpiresAt: before.ExpiresAt,
			IPAllow: before.IPAllow, Metadata: before.Metadata, Overrides: before.Overrides,
		}, before.Subject)
		if err != nil {
			return nil, err
		}
		rotation.Old, err = one(ctx, tx, `
			UPDATE api_keys SET expires_at = LEAST(expires_at, now() + $2::interval), rotated_to = $3, version = version + 1
			WHERE id = $1 RETURNING `+columns, id, grace, rotation.Key.ID)
		if err != nil {
			return nil, err
		}
		changed, err := s.changed(ctx, tx, "key.rotate", before, rotation.Old)
		if err != nil {
			return nil, err
		}
		return append(changed, rotation.Key),
			audit.Append(ctx, tx, models.AuditRecord{Action: "key.create", Target: rotation.Key.ID, After: audited(rotation.Key)})
	})
	return rotation, postgres.Classify("rotate key", err)
}

// checkExpiryExtension rejects extending a rotated key beyond its grace period,
// because its successor has replaced it.
func checkExpiryExtension(ctx context.Context, tx pgx.Tx, before, after models.APIKey) error {
	longer := before.ExpiresAt != nil && (after.ExpiresAt == nil || after.ExpiresAt.After(*before.ExpiresAt))
	if !longer {
		return nil
	}
	successor, err := successorOf(ctx, tx, before.ID)
	if err != nil || successor == nil {
		return err
	}
	return models.Conflict("key_rotated", fmt.Sprintf("This key was rotated and expires with its grace period. Change its successor %s instead.", *successor))
}

// successorOf returns the id of the key that id was rotated to; nil: it was not
// rotated.
func successorOf(ctx context.Context, tx pgx.Tx, id string) (successor *string, err error) {
	err = tx.QueryRow(ctx, `SELECT rotated_to FROM api_keys WHERE id = $1`, id).Scan(&successor)
	return successor, err
}

// checkRotatable rejects keys that have ended and keys that were rotated
// already. Otherwise a stolen key could create a new one in its grace period.
func checkRotatable(ctx context.Context, tx pgx.Tx, key models.APIKey) error {
	successor, err := successorOf(ctx, tx, key.ID)
	if err != nil {
		return err
	}
	switch status := key.Status(time.Now()); {
	case successor != nil:
		return models.Conflict("key_rotated", fmt.Sprintf("This key was rotated already. Rotate its successor %s, or revoke that and create a new key.", *successor))
	case status != models.KeyActive:
		return models.Conflict("key_ended", fmt.Sprintf("This key is %s and can't be rotated. Create a new one.", status))
	default:
		return nil
	}
}
