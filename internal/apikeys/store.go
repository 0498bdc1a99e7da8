package apikeys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// DB is where a Store keeps keys: a pool, or a transaction to join.
type DB interface {
	postgres.Beginner
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// QuotaChecker knows which plans and overrides make a quota.
type QuotaChecker interface {
	// CheckQuota returns a *models.InvalidError when a key can't have this plan
	// with these overrides, and keeps the plan as it is until tx ends.
	CheckQuota(ctx context.Context, tx pgx.Tx, plan string, overrides []models.Override) error
}

// Store keeps keys in Postgres. Whoever acts stands in the context, as a
// models.Request has it; nobody may change nothing. Every change is checked
// against what they may do (see authority), audited in its own transaction, and
// announced when that is committed.
type Store struct {
	db       DB
	peppers  *Peppers
	quotas   QuotaChecker     // nil: plans are checked to be there, and no more
	announce models.Announcer // nil: nobody listens
}

// Option adjusts a Store.
type Option func(*Store)

// WithQuotas makes the store check plans and overrides.
func WithQuotas(quotas QuotaChecker) Option { return func(s *Store) { s.quotas = quotas } }

// WithAnnouncer makes the store announce changes. Where it joins a transaction,
// it is for that one's owner to announce them.
func WithAnnouncer(announce models.Announcer) Option {
	return func(s *Store) { s.announce = announce }
}

// NewStore returns a Store on db that hashes with peppers.
func NewStore(db DB, peppers *Peppers, options ...Option) *Store {
	s := &Store{db: db, peppers: peppers}
	for _, option := range options {
		option(s)
	}
	return s
}

// NewKey says what a new key shall be.
type NewKey = models.NewKey

// Create stores a new key and returns it with its text, which is shown this
// once and stored nowhere. Errors: *models.InvalidError (an empty name, an
// unknown scope or plan, too many policies); *models.StatusError (403, more
// than who acts may give); models.ErrUnavailable.
func (s *Store) Create(ctx context.Context, spec NewKey) (key models.APIKey, text string, err error) {
	foreign := spec.Owner != "" && !actsFor(ctx, spec.Owner)
	setDefaults(&spec)
	if err := validate(&spec); err != nil {
		return models.APIKey{}, "", err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) ([]models.APIKey, error) {
		if err := authority(ctx, spec.Scopes, foreign); err != nil {
			return nil, err
		}
		if err := s.checkQuota(ctx, tx, spec.Plan, spec.Overrides); err != nil {
			return nil, err
		}
		key, text, err = s.insert(ctx, tx, spec, "")
		if err != nil {
			return nil, err
		}
		return []models.APIKey{key}, audit.Append(ctx, tx, models.Change{Action: "key.create", Target: key.ID, After: audited(key)})
	})
	return key, text, failure("create key", err)
}

// insert stores a new key. subject is whose counters it spends; empty: its own.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, spec NewKey, subject string) (models.APIKey, string, error) {
	admin := spec.Admin || (&models.APIKey{Scopes: spec.Scopes}).IsAdmin()
	text, id := generate(admin)
	mac, version := s.peppers.Hash(text)
	key, err := one(ctx, tx, `
		INSERT INTO api_keys (id, name, plan, owner, subject, scopes, expires_at, ip_allow, metadata, overrides, mac, pepper_version)
		VALUES ($1, $2, $3, $4, COALESCE(NULLIF($5, ''), $1), $6, $7, $8, $9, $10, $11, $12)
		RETURNING `+columns,
		id, spec.Name, spec.Plan, spec.Owner, subject, spec.Scopes, spec.ExpiresAt, spec.IPAllow, spec.Metadata, spec.Overrides, mac, version)
	return key, text, err
}

// List returns up to limit keys that filter lets through, newest first, from
// behind after (nil: the start). Errors: models.ErrUnavailable.
func (s *Store) List(ctx context.Context, filter models.KeyFilter, after *models.Position, limit int) (models.Page[models.APIKey], error) {
	before, id := "infinity", ""
	if after != nil {
		before, id = after.Sort, after.ID
	}
	rows, err := s.db.Query(ctx, `
		SELECT `+columns+` FROM api_keys
		WHERE ($1 = '' OR owner = $1) AND ($2 = '' OR plan = $2)
		  AND ($3 = '' OR $3 = CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= $8 THEN 'expired' ELSE 'active' END)
		  AND ($4 = '' OR id = $4 OR strpos(lower(name), lower($4)) > 0 OR strpos(lower(owner), lower($4)) > 0)
		  AND (created_at, id) < ($5::text::timestamptz, $6)
		ORDER BY created_at DESC, id DESC LIMIT $7`,
		filter.Owner, filter.Plan, string(filter.Status), filter.Search, before, id, limit+1, time.Now())
	if err != nil {
		return models.Page[models.APIKey]{}, failure("list keys", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[models.APIKey])
	if err != nil {
		return models.Page[models.APIKey]{}, failure("list keys", err)
	}
	return models.PageOf(keys, limit, func(last models.APIKey) models.Position {
		return models.Position{Sort: last.CreatedAt.UTC().Format(time.RFC3339Nano), ID: last.ID}
	}), nil
}

// Get returns one key. Errors: models.ErrNotFound, models.ErrUnavailable.
func (s *Store) Get(ctx context.Context, id string) (models.APIKey, error) {
	key, err := one(ctx, s.db, `SELECT `+columns+` FROM api_keys WHERE id = $1`, id)
	return key, found(id, err)
}

// Any reports whether there is a key at all.
func (s *Store) Any(ctx context.Context) (bool, error) {
	var any bool
	err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM api_keys)`).Scan(&any)
	return any, failure("look for keys", err)
}

// columns are the columns of api_keys that make a models.APIKey.
const columns = `id, name, plan, owner, subject, scopes, ip_allow, metadata, overrides,
	created_at, expires_at, revoked_at, last_used_at, version`

// one runs a query that gives exactly one key.
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

// checkQuota checks that a key can have a plan with overrides.
func (s *Store) checkQuota(ctx context.Context, tx pgx.Tx, plan string, overrides []models.Override) error {
	if s.quotas != nil {
		return s.quotas.CheckQuota(ctx, tx, plan, overrides)
	}
	var there bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM plans WHERE name = $1)`, plan).Scan(&there)
	if err != nil || there {
		return err
	}
	var faults models.Faults
	faults.Body("/plan", "unknown", fmt.Sprintf("there is no plan %q", plan))
	return faults.Err()
}

// inTx makes a change in a transaction, and announces the keys that were
// changed when it has ended.
func (s *Store) inTx(ctx context.Context, change func(pgx.Tx) ([]models.APIKey, error)) error {
	var changed []models.APIKey
	err := postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		keys, err := change(tx)
		if err == nil {
			changed = keys
		}
		return err
	})
	if s.announce != nil {
		for _, key := range changed { // a commit that failed may have happened
			s.announce.Changed(ctx, models.ChangedKey, key.ID, key.Version)
		}
	}
	return err
}

// audited is a key as the audit keeps it.
func audited(key models.APIKey) any {
	return struct {
		models.APIKey
		Status models.KeyStatus `json:"status"`
	}{key, key.Status(time.Now())}
}

// found turns the error of a read of one key into the kinds that callers know.
func found(id string, err error) error {
	if errors.Is(err, pgx.ErrNoRows) || postgres.IsUntranslatable(err) {
		return fmt.Errorf("key %q: %w", id, models.ErrNotFound)
	}
	return failure("read key", err)
}

// failure wraps an error of the database; see models.Failure.
func failure(doing string, err error) error {
	return models.Failure(doing, err, postgres.IsUnavailable(err))
}
