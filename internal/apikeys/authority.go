package apikeys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// Who may do what to which key. A key acts within what it holds itself; where
// no key acts, on the command line, everything is allowed: whoever can run it
// owns the database.

// authority checks that whoever acts holds every scope in question, and admin
// where the key is given to another owner. Errors: *models.StatusError (403)
// that names what is missing.
func authority(ctx context.Context, scopes []models.Scope, otherOwner bool) error {
	request := models.RequestFrom(ctx)
	if request.ActorName() == "" {
		return errors.New("change of a key: nobody acts in this context")
	}
	if request.Key == nil {
		return nil
	}
	var missing []string
	for _, scope := range scopes {
		if !request.Key.Has(scope) && !slices.Contains(missing, string(scope)) {
			missing = append(missing, string(scope))
		}
	}
	if len(missing) > 0 {
		return models.Forbidden(fmt.Sprintf("This key has, or would get, what your API key doesn't hold: %s. "+
			"Nobody can grant, change or end what they don't hold themselves.", strings.Join(missing, ", ")))
	}
	if otherOwner && !request.Key.Has(models.ScopeAdmin) {
		return models.Forbidden("Giving a key to another owner needs the scope admin: leave owner out for a new one, or name your own.")
	}
	return nil
}

// mayReceive refuses to show a new key of another owner's to a key without
// admin: it could act as that owner then.
func mayReceive(ctx context.Context, owner string) error {
	key := models.RequestFrom(ctx).Key
	if key == nil || key.Owner == owner || key.Has(models.ScopeAdmin) {
		return nil
	}
	return models.Forbidden("Rotating a key of another owner needs the scope admin: the answer shows the new key.")
}

// actsFor reports whether owner is that of the key that acts.
func actsFor(ctx context.Context, owner string) bool {
	key := models.RequestFrom(ctx).Key
	return key != nil && key.Owner == owner
}

// adminsLock is the number of the advisory lock under which admin keys are
// weakened one after the other: two that were revoked at once would each count
// on the other.
const adminsLock = 7_203_385_912

// keepAnAdmin refuses, in the transaction of a change by API, to take away the
// last key that can do everything: to revoke it, to take its scope, or to let
// it expire sooner, unless another one lasts at least as long as it would have.
// Errors: *models.StatusError (409); the database's.
func keepAnAdmin(ctx context.Context, tx pgx.Tx, before, after models.APIKey) error {
	now := time.Now()
	was := adminUntil(before, now)
	if models.RequestFrom(ctx).Key == nil || !was.After(now) || !adminUntil(after, now).Before(was) {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(adminsLock)); err != nil {
		return err
	}
	var others bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM api_keys
		WHERE id <> $1 AND $2 = ANY (scopes) AND revoked_at IS NULL AND COALESCE(expires_at, $3) >= $4)`,
		before.ID, string(models.ScopeAdmin), forever, was).Scan(&others)
	if err != nil || others {
		return err
	}
	return models.Conflict("This is the last key with the scope admin that lasts so long: without it nobody could manage keys by API. " +
		"Create another one first.")
}

// forever is later than any key expires.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// adminUntil is when a key ends that can do everything; now for any other.
func adminUntil(key models.APIKey, now time.Time) time.Time {
	switch {
	case key.RevokedAt != nil || !slices.Contains(key.Scopes, models.ScopeAdmin):
		return now
	case key.ExpiresAt == nil:
		return forever
	default:
		return *key.ExpiresAt
	}
}
