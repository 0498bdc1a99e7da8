package apikeys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// authorize checks that the actor holds every scope in question, and admin where
// the key moves to another owner. Without a key in the context, on the command
// line, everything is allowed: its user owns the database. Errors: KindForbidden
// naming what is missing.
func authorize(ctx context.Context, scopes []models.Scope, otherOwner bool) error {
	request := models.RequestFrom(ctx)
	if request.ActorName() == "" {
		return errors.New("change of a key: the context has no actor")
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
		return models.Forbidden("scope_missing", fmt.Sprintf("The key has, or would get, scopes that your API key doesn't hold: %s. "+
			"A key can only manage keys whose scopes it holds.", strings.Join(missing, ", ")))
	}
	if otherOwner && !request.Key.Has(models.ScopeAdmin) {
		return models.Forbidden("admin_required", "Giving a key to another owner needs the scope admin. Leave owner out for a new owner, or name your own.")
	}
	return nil
}

// authorizeSecret rejects showing another owner's new key to an actor without
// admin, which could then act as that owner.
func authorizeSecret(ctx context.Context, owner string) error {
	key := models.RequestFrom(ctx).Key
	if key == nil || key.Owner == owner || key.Has(models.ScopeAdmin) {
		return nil
	}
	return models.Forbidden("admin_required", "Rotating a key of another owner needs the scope admin, because the response contains the new key.")
}

// authorizeGrants rejects what only admin may give: a later expiry or a wider
// allow-list than the acting key has, a plan other than its own or the default
// (with admin:plans: any), changed overrides of keys of its own owner, and
// admin:keys to other owners, whose keys could change those overrides. What before
// has already isn't given; nil: after is a new key. Errors: KindForbidden naming
// the scope that is missing.
func authorizeGrants(ctx context.Context, before *models.APIKey, after models.APIKey) error {
	actor := models.RequestFrom(ctx).Key
	if actor == nil || actor.Has(models.ScopeAdmin) {
		return nil
	}
	old := models.APIKey{ExpiresAt: &time.Time{}}
	networks := actor.IPAllow
	if before != nil {
		old, networks = *before, union(actor.IPAllow, before.IPAllow)
	}
	ownOwner := actor.Owner == after.Owner || actor.Owner == old.Owner
	switch {
	case expiresLater(after, *actor) && expiresLater(after, old):
		return models.Forbidden("admin_required", "Giving a key a later expiry than your API key has needs the scope admin.")
	case wider(after.IPAllow, networks):
		return models.Forbidden("admin_required", "Giving a key a wider ip_allow than your API key has needs the scope admin.")
	case after.Plan != old.Plan && after.Plan != actor.Plan && after.Plan != models.DefaultPlan && !actor.Has(models.ScopeAdminPlans):
		return models.Forbidden("scope_missing", fmt.Sprintf("Giving a key another plan than %s, the default, or %s, your API key's own, needs the scope admin:plans.",
			models.DefaultPlan, actor.Plan))
	case ownOwner && !slices.EqualFunc(after.Overrides, old.Overrides, func(a, b models.Override) bool { return reflect.DeepEqual(a, b) }):
		return models.Forbidden("admin_required", "Changing overrides of keys of your own owner needs the scope admin.")
	case actor.Owner != after.Owner && slices.Contains(after.Scopes, models.ScopeAdminKeys) && !slices.Contains(old.Scopes, models.ScopeAdminKeys):
		return models.Forbidden("admin_required", "Giving admin:keys to a key of another owner needs the scope admin. Name your own owner.")
	default:
		return nil
	}
}

// authorizeRotation rejects a successor that would outlive the acting key, be
// valid from more addresses, or be of another owner. Any key may rotate itself.
func authorizeRotation(ctx context.Context, key models.APIKey) error {
	if actor := models.RequestFrom(ctx).Key; actor != nil && actor.ID == key.ID {
		return nil
	}
	if err := authorizeSecret(ctx, key.Owner); err != nil {
		return err
	}
	return authorizeFence(ctx, key)
}

// authorizeFence rejects making a key valid that outlives the acting key or is
// valid from more addresses.
func authorizeFence(ctx context.Context, key models.APIKey) error {
	return authorizeGrants(ctx, nil, models.APIKey{Plan: models.DefaultPlan, ExpiresAt: key.ExpiresAt, IPAllow: key.IPAllow})
}

// expiresLater reports whether a expires after b.
func expiresLater(a, b models.APIKey) bool {
	return b.ExpiresAt != nil && (a.ExpiresAt == nil || a.ExpiresAt.After(*b.ExpiresAt))
}

// union returns the addresses of two allow-lists. An empty list allows all.
func union(a, b []netip.Prefix) []netip.Prefix {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return slices.Concat(a, b)
}

// wider reports whether an allow-list has networks outside those of another.
func wider(list, than []netip.Prefix) bool {
	return len(than) > 0 && (len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(than, func(t netip.Prefix) bool { return t.Bits() <= p.Bits() && t.Contains(p.Addr()) })
	}))
}

// actsFor reports whether the acting key belongs to owner.
func actsFor(ctx context.Context, owner string) bool {
	key := models.RequestFrom(ctx).Key
	return key != nil && key.Owner == owner
}

// adminsLock is the number of the advisory lock that serializes changes of admin
// keys. Otherwise two that are revoked at once could each rely on the other.
const adminsLock = 7_203_385_912

// keepAnAdmin rejects a change that would remove the last full admin key: ending
// or suspending it, removing its scope, shortening its life or fencing it in, unless
// another one lasts at least as long. By API, only keys that the caller's address
// can use matter; on the command line, whose address is unknown, all do. A Store of
// AllowNoAdmin rejects nothing. Errors: KindConflict; the database's.
func (s *Store) keepAnAdmin(ctx context.Context, tx pgx.Tx, before, after []models.APIKey) error {
	now, request := time.Now(), models.RequestFrom(ctx)
	byAPI := request.Key != nil
	usable := func(key models.APIKey) bool { return !byAPI || key.AllowsAddress(request.Address) }
	was := adminUntil(before, usable, now)
	if s.allowNoAdmin || !was.After(now) || !adminUntil(after, usable, now).Before(was) {
		return nil
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(adminsLock)); err != nil {
		return err
	}
	var others bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM api_keys
		WHERE id <> ALL ($1) AND $2 = ANY (scopes) AND revoked_at IS NULL AND suspended_at IS NULL AND COALESCE(expires_at, $3) >= $4
		  AND (NOT $5 OR ip_allow = '{}' OR $6::inet <<= ANY (ip_allow)))`,
		idsOf(before), string(models.ScopeAdmin), forever, was, byAPI, inet(request.Address)).Scan(&others)
	if err != nil || others {
		return err
	}
	scope := ""
	if byAPI {
		scope = " and from your address"
	}
	return models.Conflict("last_admin_key", "This is the last admin key that is valid for so long"+scope+". Without it nobody could "+
		"manage keys by API. Create another one first.")
}

// forever is later than any key expires.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// inet returns an address for Postgres; nil for an unknown one.
func inet(address netip.Addr) *netip.Addr {
	if !address.IsValid() {
		return nil
	}
	return &address
}

// adminUntil returns until when one of the usable keys is a full admin, and now if
// none is one.
func adminUntil(keys []models.APIKey, usable func(models.APIKey) bool, now time.Time) time.Time {
	until := now
	for _, key := range keys {
		if key.Usable(now) != nil || !slices.Contains(key.Scopes, models.ScopeAdmin) || !usable(key) {
			continue
		}
		end := forever
		if key.ExpiresAt != nil {
			end = *key.ExpiresAt
		}
		if end.After(until) {
			until = end
		}
	}
	return until
}
