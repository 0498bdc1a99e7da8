package apikeys

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// byID, byOwner and bySubject are conditions for lock; byChain is the subject of
// the key with an id, and the key itself. The last three leave out keys that have
// ended for good: revoked ones, and rotated ones after their grace period, with an
// hour for the slow clock of an instance.
const (
	byID      = `id = $1`
	byOwner   = `owner = $1 AND ` + notEnded
	bySubject = `subject = $1 AND ` + notEnded
	byChain   = `id = $1 OR subject = (SELECT subject FROM api_keys WHERE id = $1) AND ` + notEnded

	notEnded = `revoked_at IS NULL AND (rotated_to IS NULL OR expires_at > now() - interval '1 hour')`
)

// lock returns the keys that meet a condition on value, locked until tx ends. It
// also locks the acting key: one that ended after its request was authenticated,
// perhaps long before the request's body arrived, changes nothing more. The first
// key of every chain is locked before all others, and each group in the order of
// the ids, so that transactions don't lock each other out.
// Errors: KindForbidden for an acting key that has ended or is suspended; the
// database's.
func lock(ctx context.Context, tx pgx.Tx, condition, value string) ([]models.APIKey, error) {
	actor, actorID := models.RequestFrom(ctx).Key, ""
	if actor != nil {
		actorID = actor.ID
	}
	rows, err := tx.Query(ctx, `SELECT `+columns+`, (`+condition+`) IS TRUE AS wanted FROM api_keys
		WHERE id = ANY (ARRAY(SELECT unnest(ARRAY[id, subject]) FROM api_keys WHERE (`+condition+`) OR id = $2))
		ORDER BY id <> subject, id FOR UPDATE`, value, actorID)
	if err != nil {
		return nil, postgres.Classify("lock keys", err)
	}
	type candidate struct {
		models.APIKey
		Wanted bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[candidate])
	if err != nil {
		return nil, postgres.Classify("lock keys", err)
	}
	usable := actor == nil
	var keys []models.APIKey
	for _, c := range found {
		if c.ID == actorID {
			usable = c.Usable(time.Now()) == nil
		}
		if c.Wanted {
			keys = append(keys, c.APIKey)
		}
	}
	if !usable {
		return nil, models.Forbidden("forbidden", "Your API key was ended or suspended while this request was in progress.")
	}
	return keys, nil
}

// lockAll is lock for conditions that new keys may meet: it also locks those that
// transactions before it created while it waited for them.
func lockAll(ctx context.Context, tx pgx.Tx, condition, value string) ([]models.APIKey, error) {
	for locked := -1; ; {
		keys, err := lock(ctx, tx, condition, value)
		if err != nil || len(keys) == locked {
			return keys, err
		}
		locked = len(keys)
	}
}

// checkActor is lock for the acting key only, if a key acts.
func checkActor(ctx context.Context, tx pgx.Tx) error {
	if models.RequestFrom(ctx).Key == nil {
		return nil
	}
	_, err := lock(ctx, tx, byID, "")
	return err
}

// lockOne is lock for one key. Errors also: models.ErrNotFound.
func lockOne(ctx context.Context, tx pgx.Tx, id string) (models.APIKey, error) {
	keys, err := lock(ctx, tx, byID, id)
	if err != nil {
		return models.APIKey{}, err
	}
	return find(keys, id)
}

// find returns the key with an id, or models.ErrNotFound.
func find(keys []models.APIKey, id string) (models.APIKey, error) {
	at := slices.IndexFunc(keys, func(key models.APIKey) bool { return key.ID == id })
	if at < 0 {
		return models.APIKey{}, models.ErrNotFound
	}
	return keys[at], nil
}

func idsOf(keys []models.APIKey) []string {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = key.ID
	}
	return ids
}
