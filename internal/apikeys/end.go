package apikeys

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Revoke ends a key for good and returns it; with chain, also the keys that it
// was rotated from and to. A rotation in progress is waited for, so that no key of
// the chain is left. Revoked keys stay as they are. Errors: models.ErrNotFound;
// KindForbidden; KindConflict for the last admin key; KindPreconditionFailed;
// models.ErrUnavailable.
func (s *Store) Revoke(ctx context.Context, id string, chain bool, condition models.Precondition) (key models.APIKey, err error) {
	which := byID
	if chain {
		which = byChain
	}
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		keys, err := lockAll(ctx, tx, which, id)
		if err != nil {
			return nil, err
		}
		if key, err = find(keys, id); err != nil {
			return nil, err
		}
		if err := authorize(ctx, scopesOf(keys), false); err != nil {
			return nil, err
		}
		if err := condition.Check(key.Version); err != nil {
			return nil, err
		}
		revoked, err := s.revoke(ctx, tx, keys)
		if after, gone := find(revoked, id); gone == nil {
			key = after
		}
		return revoked, err
	})
	return key, postgres.Classify("revoke key", err)
}

// RevokeAll ends the keys of an owner or of a subject for good and returns how
// many it ended. Errors: as of Revoke; no key is no error.
func (s *Store) RevokeAll(ctx context.Context, of models.KeySelector) (n int, err error) {
	which, value := byOwner, of.Owner
	if of.Subject != "" {
		which, value = bySubject, of.Subject
	}
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		keys, err := lockAll(ctx, tx, which, value)
		if err != nil {
			return nil, err
		}
		if err := authorize(ctx, scopesOf(keys), false); err != nil {
			return nil, err
		}
		revoked, err := s.revoke(ctx, tx, keys)
		n = len(revoked)
		return revoked, err
	})
	return n, postgres.Classify("revoke keys", err)
}

// revoke ends locked keys and returns those that had not ended.
func (s *Store) revoke(ctx context.Context, tx pgx.Tx, keys []models.APIKey) ([]models.APIKey, error) {
	before := slices.DeleteFunc(slices.Clone(keys), func(key models.APIKey) bool { return key.RevokedAt != nil })
	if len(before) == 0 {
		return nil, nil
	}
	return s.setStatus(ctx, tx, "key.revoke", "revoked_at = now()", before)
}

// SetSuspended suspends a key, or resumes it, and returns it. A key that is
// suspended or resumed already stays as it is. Errors: models.ErrNotFound;
// KindForbidden; KindConflict for a revoked key and for the last admin key;
// KindPreconditionFailed; models.ErrUnavailable.
func (s *Store) SetSuspended(ctx context.Context, id string, suspended bool, condition models.Precondition) (key models.APIKey, err error) {
	action, assignment := "key.resume", "suspended_at = NULL"
	if suspended {
		action, assignment = "key.suspend", "suspended_at = now()"
	}
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		if key, err = lockOne(ctx, tx, id); err != nil {
			return nil, err
		}
		if err := authorize(ctx, key.Scopes, false); err != nil {
			return nil, err
		}
		if err := condition.Check(key.Version); err != nil {
			return nil, err
		}
		switch {
		case key.RevokedAt != nil:
			return nil, models.Conflict("key_ended", "This key is revoked, which is final. Create a new one.")
		case suspended == (key.SuspendedAt != nil):
			return nil, nil
		case !suspended:
			if err := authorizeFence(ctx, key); err != nil {
				return nil, err
			}
		}
		after, err := s.setStatus(ctx, tx, action, assignment, []models.APIKey{key})
		if err == nil {
			key = after[0]
		}
		return after, err
	})
	return key, postgres.Classify("suspend or resume key", err)
}

// setStatus changes the status of locked keys by an assignment, and audits the
// status of each before and after.
func (s *Store) setStatus(ctx context.Context, tx pgx.Tx, action, assignment string, before []models.APIKey) ([]models.APIKey, error) {
	rows, err := tx.Query(ctx, `UPDATE api_keys SET `+assignment+`, version = version + 1 WHERE id = ANY ($1) RETURNING `+columns, idsOf(before))
	if err != nil {
		return nil, err
	}
	after, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[models.APIKey])
	if err != nil {
		return nil, err
	}
	was := make(map[string]models.KeyStatus, len(before))
	now := time.Now()
	for _, key := range before {
		was[key.ID] = key.Status(now)
	}
	records := make([]models.AuditRecord, len(after))
	for i, key := range after {
		records[i] = models.AuditRecord{
			Action: action, Target: key.ID,
			Before: map[string]any{"status": was[key.ID]}, After: map[string]any{"status": key.Status(now)},
		}
	}
	return s.changed(ctx, tx, before, after, records...)
}

// scopesOf returns all scopes of keys.
func scopesOf(keys []models.APIKey) []models.Scope {
	var scopes []models.Scope
	for _, key := range keys {
		scopes = append(scopes, key.Scopes...)
	}
	return scopes
}
