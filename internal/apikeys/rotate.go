package apikeys

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/models"
)

// Rotate makes a new key that is like an old one in everything, expiry and
// whose counters it spends included; the old one works for grace, 0 to
// models.MaxGrace, and never beyond its own expiry. A key can be rotated once:
// its successor can be next. Errors: models.ErrNotFound; *models.InvalidError
// (grace out of range); *models.StatusError (403; 409, the key has ended or was
// rotated; 412); models.ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, id string, grace time.Duration, expected models.Expected) (rotation models.Rotation, err error) {
	if grace < 0 || grace > models.MaxGrace {
		var faults models.Faults
		faults.Body("/grace", "range", "must be from 0s to 7d")
		return models.Rotation{}, faults.Err()
	}
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		before, err := s.lockFor(ctx, tx, id, expected)
		if err != nil {
			return nil, err
		}
		if err := mayReceive(ctx, before.Owner); err != nil {
			return nil, err
		}
		if err := mayRotate(ctx, tx, before); err != nil {
			return nil, err
		}
		rotation.Key, rotation.Text, err = s.insert(ctx, tx, NewKey{
			Name: before.Name, Plan: before.Plan, Scopes: before.Scopes, Owner: before.Owner, ExpiresAt: before.ExpiresAt,
			IPAllow: before.IPAllow, Metadata: before.Metadata, Overrides: before.Overrides,
		}, before.Subject)
		if err != nil {
			return nil, err
		}
		rotation.Old, err = one(ctx, tx, `
			UPDATE api_keys SET expires_at = LEAST(expires_at, $2), rotated_to = $3, version = version + 1
			WHERE id = $1 RETURNING `+columns, id, time.Now().Add(grace), rotation.Key.ID)
		if err != nil {
			return nil, err
		}
		changed, err := s.changed(ctx, tx, "key.rotate", before, rotation.Old)
		if err != nil {
			return nil, err
		}
		return append(changed, rotation.Key),
			audit.Append(ctx, tx, models.Change{Action: "key.create", Target: rotation.Key.ID, After: audited(rotation.Key)})
	})
	return rotation, failure("rotate key", err)
}

// staysEnding refuses to let a key that was rotated live longer than its grace
// period: its successor has its place.
func staysEnding(ctx context.Context, tx pgx.Tx, before, after models.APIKey) error {
	longer := before.ExpiresAt != nil && (after.ExpiresAt == nil || after.ExpiresAt.After(*before.ExpiresAt))
	if !longer {
		return nil
	}
	successor, err := successorOf(ctx, tx, before.ID)
	if err != nil || successor == nil {
		return err
	}
	return models.Conflict(fmt.Sprintf("This key was rotated, and ends with its grace period. Its successor is %s: change that.", *successor))
}

// successorOf returns the id of the key that another was rotated to; nil: it
// wasn't.
func successorOf(ctx context.Context, tx pgx.Tx, id string) (successor *string, err error) {
	err = tx.QueryRow(ctx, `SELECT rotated_to FROM api_keys WHERE id = $1`, id).Scan(&successor)
	return successor, err
}

// mayRotate refuses keys that have ended, and those that were rotated already:
// whoever stole one could else mint a new one in its grace period.
func mayRotate(ctx context.Context, tx pgx.Tx, key models.APIKey) error {
	successor, err := successorOf(ctx, tx, key.ID)
	if err != nil {
		return err
	}
	switch status := key.Status(time.Now()); {
	case successor != nil:
		return models.Conflict(fmt.Sprintf("This key was rotated already. Its successor is %s: rotate that, or revoke it and create a new key.", *successor))
	case status != models.KeyActive:
		return models.Conflict(fmt.Sprintf("This key is %s and can't be rotated: create a new one.", status))
	default:
		return nil
	}
}
