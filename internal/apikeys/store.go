package apikeys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"ratelimiter/models"
)

// DB is where a Store keeps keys: a pool, or a transaction to join.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Store keeps keys in Postgres.
type Store struct {
	db      DB
	peppers *Peppers
}

// NewStore returns a Store on db that hashes with peppers.
func NewStore(db DB, peppers *Peppers) *Store {
	return &Store{db: db, peppers: peppers}
}

// NewKey says what a new key shall be. Only Name is required: Plan defaults to
// free (admin keys: internal), Scopes to models.DefaultScopes (admin keys:
// admin), Owner to a new one.
type NewKey struct {
	Name      string
	Plan      string
	Scopes    []models.Scope
	Owner     string
	Admin     bool // an rl_admin_ key
	ExpiresAt *time.Time
	IPAllow   []netip.Prefix
	Metadata  map[string]string
}

// foreignKeyViolation is Postgres's SQLSTATE for a reference to a missing row.
const foreignKeyViolation = "23503"

// Create stores a new key and returns it with its text, which is shown this
// once and stored nowhere. Errors: *models.InvalidError (an empty name, an
// unknown scope or plan), or the database's.
func (s *Store) Create(ctx context.Context, spec NewKey) (models.APIKey, string, error) {
	spec.setDefaults()
	if err := spec.validate(); err != nil {
		return models.APIKey{}, "", err
	}
	text, id := generate(spec.Admin)
	mac, version := s.peppers.Hash(text)
	key, err := s.one(ctx, `
		INSERT INTO api_keys (id, name, plan, owner, subject, scopes, expires_at, ip_allow, metadata, mac, pepper_version)
		VALUES ($1, $2, $3, $4, $1, $5, $6, $7, $8, $9, $10)
		RETURNING `+columns,
		id, spec.Name, spec.Plan, spec.Owner, spec.Scopes, spec.ExpiresAt, spec.IPAllow, spec.Metadata, mac, version)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == foreignKeyViolation {
		var faults models.Faults
		faults.Body("/plan", "unknown", fmt.Sprintf("there is no plan %q", spec.Plan))
		return models.APIKey{}, "", faults.Err()
	}
	if err != nil {
		return models.APIKey{}, "", fmt.Errorf("store key: %w", err)
	}
	return key, text, nil
}

// List returns every key, newest first.
func (s *Store) List(ctx context.Context) ([]models.APIKey, error) {
	rows, err := s.db.Query(ctx, `SELECT `+columns+` FROM api_keys ORDER BY created_at DESC, id DESC`)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[models.APIKey])
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// Revoke ends a key for good and returns it. A key that is revoked already
// stays as it is. Errors: models.ErrNotFound, or the database's.
func (s *Store) Revoke(ctx context.Context, id string) (models.APIKey, error) {
	key, err := s.one(ctx, `
		UPDATE api_keys
		SET revoked_at = COALESCE(revoked_at, now()),
		    version = version + (revoked_at IS NULL)::int
		WHERE id = $1
		RETURNING `+columns, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return models.APIKey{}, fmt.Errorf("key %q: %w", id, models.ErrNotFound)
	}
	if err != nil {
		return models.APIKey{}, fmt.Errorf("revoke key: %w", err)
	}
	return key, nil
}

// Any reports whether there is a key at all.
func (s *Store) Any(ctx context.Context) (bool, error) {
	var found bool
	err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM api_keys)`).Scan(&found)
	return found, err
}

// columns are the columns of api_keys that make a models.APIKey.
const columns = `id, name, plan, owner, subject, scopes, ip_allow, metadata,
	created_at, expires_at, revoked_at, last_used_at, version`

// one runs a query that gives exactly one key.
func (s *Store) one(ctx context.Context, query string, args ...any) (models.APIKey, error) {
	rows, err := s.db.Query(ctx, query, args...)
	if err != nil {
		return models.APIKey{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[models.APIKey])
}

func (n *NewKey) setDefaults() {
	if n.Plan == "" {
		n.Plan = "free"
		if n.Admin {
			n.Plan = "internal"
		}
	}
	if len(n.Scopes) == 0 {
		n.Scopes = models.DefaultScopes()
		if n.Admin {
			n.Scopes = []models.Scope{models.ScopeAdmin}
		}
	}
	if n.Owner == "" {
		n.Owner = "own_" + randomBase62(idLength)
	}
	if n.IPAllow == nil {
		n.IPAllow = []netip.Prefix{}
	}
	if n.Metadata == nil {
		n.Metadata = map[string]string{}
	}
}

// maxNameLength is in bytes: a name is for people, in a list.
const maxNameLength = 200

func (n *NewKey) validate() error {
	var faults models.Faults
	switch {
	case n.Name == "":
		faults.Body("/name", "required", "must not be empty")
	case len(n.Name) > maxNameLength:
		faults.Body("/name", "max_length", fmt.Sprintf("must be at most %d bytes", maxNameLength))
	}
	for i, scope := range n.Scopes {
		if !scope.Known() {
			faults.Body(fmt.Sprintf("/scopes/%d", i), "enum", fmt.Sprintf("%q is no scope; there are: %v", scope, models.AllScopes()))
		}
	}
	return faults.Err()
}
