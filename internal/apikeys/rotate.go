package apikeys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// selfRotations is how often the keys of a subject may rotate themselves in an
// hour. Each rotation leaves a row for good.
const selfRotations = 10

// Rotate creates a successor that equals the old key in everything, including
// expiry and subject. The old key stays valid for grace, 0 to models.MaxGrace,
// but not beyond its own expiry; keys of earlier rotations end. A key can be
// rotated once; then its successor can be. Errors: models.ErrNotFound;
// KindForbidden; KindConflict when the key is suspended, has ended or was rotated;
// KindPreconditionFailed; KindLimited; models.ErrUnavailable.
func (s *Store) Rotate(ctx context.Context, id string, grace time.Duration, condition models.Precondition) (rotation models.Rotation, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		chain, err := lock(ctx, tx, byChain, id)
		if err != nil {
			return nil, err
		}
		before, err := find(chain, id)
		if err == nil {
			err = checkRotation(ctx, tx, before, condition)
		}
		if err != nil {
			return nil, err
		}
		rotation.Key, rotation.Text, err = s.insert(ctx, tx, models.NewKey{
			Name: before.Name, Plan: before.Plan, Scopes: before.Scopes, Owner: before.Owner, ExpiresAt: before.ExpiresAt,
			IPAllow: before.IPAllow, Metadata: before.Metadata, Overrides: before.Overrides,
		}, before.Subject)
		if err != nil {
			return nil, err
		}
		now := rotation.Key.CreatedAt // by the database's clock
		replaced := slices.DeleteFunc(chain, func(key models.APIKey) bool { return errors.Is(key.Usable(now), models.ErrInvalidKey) })
		after, records, err := replace(ctx, tx, replaced, rotation.Key.ID, id, grace)
		if err != nil {
			return nil, err
		}
		rotation.Old, err = find(after, id)
		if err != nil {
			return nil, err
		}
		records = append(records, models.AuditRecord{
			Action: "key.create", Target: rotation.Key.ID, After: map[string]any{"predecessor": id, "subject": before.Subject},
		})
		return s.changed(ctx, tx, replaced, append(after, rotation.Key), records...)
	})
	return rotation, postgres.Classify("rotate key", err)
}

// replace lets the key with id rotated expire after grace and the others, of earlier
// rotations, now, by the database's clock. It returns them as they are afterwards, with what to audit: the
// expiry times, and the successor's id.
func replace(ctx context.Context, tx pgx.Tx, keys []models.APIKey, successor, rotated string, grace time.Duration) ([]models.APIKey, []models.AuditRecord, error) {
	rows, err := tx.Query(ctx, `
		UPDATE api_keys SET version = version + 1,
		       expires_at = LEAST(expires_at, now() + CASE WHEN id = $2 THEN $3::interval ELSE '0' END),
		       rotated_to = CASE WHEN id = $2 THEN $4 ELSE rotated_to END
		WHERE id = ANY ($1) RETURNING `+columns, idsOf(keys), rotated, grace, successor)
	if err != nil {
		return nil, nil, err
	}
	after, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[models.APIKey])
	records := make([]models.AuditRecord, len(keys))
	for i, before := range keys {
		key, missing := find(after, before.ID)
		err = cmp.Or(err, missing)
		records[i] = models.AuditRecord{
			Action: "key.expire", Target: key.ID, Before: map[string]any{"expires_at": before.ExpiresAt},
			After: map[string]any{"expires_at": key.ExpiresAt, "successor": successor},
		}
		if key.ID == rotated {
			records[i].Action = "key.rotate"
		}
	}
	return after, records, err
}

// checkRotation rejects a rotation that the actor may not make, that doesn't meet
// the condition, or that the state of the locked key doesn't allow.
func checkRotation(ctx context.Context, tx pgx.Tx, key models.APIKey, condition models.Precondition) error {
	if err := authorize(ctx, key.Scopes, false); err != nil {
		return err
	}
	if err := condition.Check(key.Version); err != nil {
		return err
	}
	if err := authorizeRotation(ctx, key); err != nil {
		return err
	}
	if err := checkRotatable(ctx, tx, key); err != nil {
		return err
	}
	return limitSelfRotation(ctx, tx, key.Subject)
}

// limitSelfRotation rejects more than selfRotations an hour by a subject's own
// keys. It counts the stored keys, so that the limit holds across instances and
// restarts; the locked chain keeps two rotations from counting at once.
func limitSelfRotation(ctx context.Context, tx pgx.Tx, subject string) error {
	if actor := models.RequestFrom(ctx).Key; actor == nil || actor.Subject != subject {
		return nil
	}
	var wait time.Duration
	err := tx.QueryRow(ctx, `
		SELECT created_at + interval '1 hour' - now() FROM api_keys WHERE subject = $1 AND id <> subject
		ORDER BY created_at DESC OFFSET $2 LIMIT 1`, subject, selfRotations-1).Scan(&wait)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && wait <= 0 {
		return nil
	}
	return cmp.Or(err, error(&models.Error{
		Kind: models.KindLimited, Code: "too_many_rotations", Policy: "rotations", RetryAfter: wait,
		Message: fmt.Sprintf("A key can be rotated by itself and its successors at most %d times an hour.", selfRotations),
	}))
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
	case status == models.KeySuspended:
		return models.Conflict("key_suspended", "This key is suspended and can't be rotated. Resume it first.")
	case status != models.KeyActive:
		return models.Conflict("key_ended", fmt.Sprintf("This key is %s and can't be rotated. Create a new one.", status))
	default:
		return nil
	}
}
