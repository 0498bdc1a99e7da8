package apikeys

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// DB is a pool, or a transaction to join.
type DB interface {
	postgres.Beginner
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// QuotaChecker validates plans and overrides of keys.
type QuotaChecker interface {
	// CheckQuota returns an error of models.KindInvalid when a key can't have
	// this plan with these overrides. It locks the plan until tx ends.
	CheckQuota(ctx context.Context, tx pgx.Tx, plan string, overrides []models.Override) error
}

// Store keeps keys in Postgres. The actor comes from the context's
// models.Request; a change without an actor is rejected. Every change is
// authorized, audited in its own transaction, and announced to the invalidator
// after the commit. Store is safe for concurrent use if its DB is.
type Store struct {
	db          DB
	peppers     *Peppers
	quotas      QuotaChecker
	invalidator models.Invalidator

	allowNoAdmin bool
}

// NewStore returns a Store on db that hashes with peppers, checks plans and
// overrides with quotas, and announces changes to invalidator.
func NewStore(db DB, peppers *Peppers, quotas QuotaChecker, invalidator models.Invalidator) *Store {
	return &Store{db: db, peppers: peppers, quotas: quotas, invalidator: invalidator}
}

// AllowNoAdmin returns a Store that also removes the last admin key, for operators
// who confirmed that.
func (s *Store) AllowNoAdmin() *Store {
	allowing := *s
	allowing.allowNoAdmin = true
	return &allowing
}

// Create stores a new key and returns it with its text, which is shown only this
// once and not stored. Errors: KindInvalid with every fault (see check);
// KindForbidden (more than the actor may grant); models.ErrUnavailable.
func (s *Store) Create(ctx context.Context, spec models.NewKey) (key models.APIKey, text string, err error) {
	foreign := spec.Owner != "" && !actsFor(ctx, spec.Owner)
	setDefaults(&spec)
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		if err := checkActor(ctx, tx); err != nil {
			return nil, err
		}
		if err := authorize(ctx, spec.Scopes, foreign); err != nil {
			return nil, err
		}
		wanted := models.APIKey{
			Plan: spec.Plan, Owner: spec.Owner, Scopes: spec.Scopes, ExpiresAt: spec.ExpiresAt, IPAllow: spec.IPAllow, Metadata: spec.Metadata, Overrides: spec.Overrides,
		}
		if err := authorizeGrants(ctx, nil, wanted); err != nil {
			return nil, err
		}
		if err := s.check(ctx, tx, models.APIKey{}, wanted); err != nil {
			return nil, err
		}
		key, text, err = s.insert(ctx, tx, spec, "")
		if err != nil {
			return nil, err
		}
		return []models.APIKey{key}, audit.Append(ctx, tx, models.AuditRecord{Action: "key.create", Target: key.ID, After: audited(key)})
	})
	return key, text, postgres.Classify("create key", err)
}

// insert stores a new key that spends the counters of subject; empty: its own.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, spec models.NewKey, subject string) (models.APIKey, string, error) {
	admin := spec.Admin || (&models.APIKey{Scopes: spec.Scopes}).IsAdmin()
	text, id := generate(admin)
	mac, version := s.peppers.Hash(text)
	key, err := one(ctx, tx, `
		INSERT INTO api_keys (id, name, plan, owner, subject, scopes, expires_at, ip_allow, metadata, overrides, mac, pepper_version)
		VALUES ($1, $2, $3, $4, COALESCE(NULLIF($5, ''), $1), $6, $7, $8, $9, $10, $11, $12)
		RETURNING `+columns,
		id, spec.Name, spec.Plan, spec.Owner, subject, spec.Scopes, spec.ExpiresAt, spec.IPAllow, spec.Metadata, spec.Overrides, mac, version)
	if err != nil {
		return models.APIKey{}, "", err
	}
	return key, text, recordCanary(ctx, tx, s.peppers, version)
}

// List returns up to limit keys that match filter, newest first, starting after
// the position after (nil: the start). Errors: models.ErrUnavailable.
func (s *Store) List(ctx context.Context, filter models.KeyFilter, after *models.Position, limit int) (models.Page[models.APIKey], error) {
	before, id := "infinity", ""
	if after != nil {
		before, id = after.Sort, after.ID
	}
	// Planned with its arguments each time, so that conditions on empty ones
	// disappear and the indexes can be used.
	rows, err := s.db.Query(ctx, `
		SELECT `+columns+` FROM api_keys
		WHERE ($1 = '' OR owner = $1) AND ($2 = '' OR plan = $2)
		  AND ($3 = '' OR $3 = CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= $8 THEN 'expired' WHEN suspended_at IS NOT NULL THEN 'suspended' ELSE 'active' END)
		  AND ($4 = '' OR id = $4 OR lower(name) LIKE lower($9) OR lower(owner) LIKE lower($9))
		  AND (created_at, id) < ($5::text::timestamptz, $6)
		ORDER BY created_at DESC, id DESC LIMIT $7`,
		pgx.QueryExecModeCacheDescribe, filter.Owner, filter.Plan, string(filter.Status), filter.Search, before, id, limit+1, time.Now(), containing(filter.Search))
	if err != nil {
		return models.Page[models.APIKey]{}, postgres.Classify("list keys", err)
	}
	return postgres.CollectPage("list keys", rows, limit, pgx.RowToStructByNameLax[models.APIKey], func(last models.APIKey) models.Position {
		return models.Position{Sort: last.CreatedAt.UTC().Format(time.RFC3339Nano), ID: last.ID}
	})
}

// containing returns the LIKE pattern of texts that contain text.
func containing(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

// Get returns one key. Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Store) Get(ctx context.Context, id string) (models.APIKey, error) {
	key, err := one(ctx, s.db, `SELECT `+columns+` FROM api_keys WHERE id = $1`, id)
	return key, postgres.Classify("read key", err)
}

// GetAll returns those of the keys with these ids that exist, in any order. Errors:
// models.ErrUnavailable.
func (s *Store) GetAll(ctx context.Context, ids []string) ([]models.APIKey, error) {
	rows, err := s.db.Query(ctx, `SELECT `+columns+` FROM api_keys WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, postgres.Classify("read keys", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[models.APIKey])
	return keys, postgres.Classify("read keys", err)
}

// HasKeys reports whether any key exists.
func (s *Store) HasKeys(ctx context.Context) (bool, error) {
	var exists bool
	err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM api_keys)`).Scan(&exists)
	return exists, postgres.Classify("look for keys", err)
}

// columns are the columns of a models.APIKey.
const columns = `id, name, plan, owner, subject, scopes, ip_allow, metadata, overrides,
	created_at, expires_at, suspended_at, revoked_at, last_used_at, version`

// one runs a query that returns exactly one key.
func one(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, query string, args ...any,
) (models.APIKey, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return models.APIKey{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[models.APIKey])
}

// inTx makes a change in a transaction and announces the changed keys once it
// has ended.
func (s *Store) inTx(ctx context.Context, change func(pgx.Tx) ([]models.APIKey, error)) error {
	var changed []models.APIKey
	err := postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		keys, err := change(tx)
		if err == nil {
			changed = keys
		}
		return err
	})
	for _, key := range changed { // a failed commit may have succeeded
		s.invalidator.Invalidate(ctx, models.ChangeEvent{Kind: models.ChangedKey, ID: key.ID, Version: key.Version})
	}
	return err
}

// audited returns a key as the audit records it.
func audited(key models.APIKey) any {
	return struct {
		models.APIKey
		Status models.KeyStatus `json:"status"`
	}{key, key.Status(time.Now())}
}
