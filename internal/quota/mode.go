package quota

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// EnforcementMode is the global switch between enforcing policies and running
// all of them in shadow mode. The mode is stored in Postgres and cached in
// memory, where reading it is one atomic load; the change feed keeps the cached
// value current. It is safe for concurrent use.
type EnforcementMode struct {
	db          DB
	invalidator models.Invalidator
	shadow      atomic.Bool

	mu      sync.Mutex
	version int64 // version of the cached mode
}

// NewEnforcementMode returns the mode stored in db and announces changes to
// invalidator. It enforces until the change feed has loaded the stored value.
func NewEnforcementMode(db DB, invalidator models.Invalidator) *EnforcementMode {
	return &EnforcementMode{db: db, invalidator: invalidator}
}

// Shadow reports whether all policies are in shadow mode.
func (m *EnforcementMode) Shadow() bool { return m.shadow.Load() }

const selectMode = `SELECT mode, version, changed_at FROM limiter_mode `

// Mode returns the stored mode. Errors: models.ErrUnavailable.
func (m *EnforcementMode) Mode(ctx context.Context) (models.EnforcementMode, error) {
	rows, err := m.db.Query(ctx, selectMode)
	if err != nil {
		return models.EnforcementMode{}, postgres.Classify("read enforcement mode", err)
	}
	mode, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.EnforcementMode])
	return mode, postgres.Classify("read enforcement mode", err)
}

// SetMode sets the mode, audited in the same transaction, and returns it. The
// mode is in force on this instance when SetMode returns. An unchanged mode
// keeps its version. Errors: models.ErrUnavailable.
func (m *EnforcementMode) SetMode(ctx context.Context, mode string) (after models.EnforcementMode, err error) {
	changed := false
	err = postgres.InTx(ctx, m.db, func(tx pgx.Tx) error {
		before, err := oneMode(ctx, tx, selectMode+`FOR UPDATE`)
		if after = before; err != nil || before.Mode == mode {
			return err
		}
		after, err = oneMode(ctx, tx, `
			UPDATE limiter_mode SET mode = $1, version = version + 1, changed_at = clock_timestamp()
			RETURNING mode, version, changed_at`, mode)
		if err != nil {
			return err
		}
		changed = true
		return audit.Append(ctx, tx, models.AuditRecord{
			Action: "limiter.set", Target: models.ModeID, Before: auditedMode(before), After: auditedMode(after),
		})
	})
	if err == nil {
		m.Apply(after.Mode, after.Version, false)
	}
	if changed { // a failed commit may have succeeded
		m.invalidator.Invalidate(ctx, models.ChangeEvent{Kind: models.ChangedMode, ID: models.ModeID, Version: after.Version})
	}
	return after, postgres.Classify("set enforcement mode", err)
}

func oneMode(ctx context.Context, tx pgx.Tx, query string, args ...any) (models.EnforcementMode, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return models.EnforcementMode{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.EnforcementMode])
}

func auditedMode(mode models.EnforcementMode) any {
	return map[string]string{"mode": mode.Mode}
}

// Apply caches a mode that was read from Postgres, unless a later version is
// cached already; forced caches it regardless.
func (m *EnforcementMode) Apply(mode string, version int64, forced bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if forced || version >= m.version {
		m.version = version
		m.shadow.Store(mode == models.ModeShadow)
	}
}

// shadowQuota is a quota with all policies in shadow mode, compiled at first
// use.
type shadowQuota struct {
	once  sync.Once
	quota *ratelimit.Quota
}

// of returns the shadow of quota, which must be the same at each call. It calls
// compiled with it once; nil: none.
func (s *shadowQuota) of(quota *ratelimit.Quota, compiled func(*ratelimit.Quota)) *ratelimit.Quota {
	s.once.Do(func() {
		policies := quota.Policies()
		for i := range policies {
			policies[i].Mode = ratelimit.Shadow
		}
		var err error
		if s.quota, err = ratelimit.NewQuota(policies, quota.Subjects()); err != nil {
			panic(err) // valid policies stay valid in shadow mode
		}
		if compiled != nil {
			compiled(s.quota)
		}
	})
	return s.quota
}
