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

// Calm is the switch for an operator who needs calm at once: while it is on,
// every policy of every plan and key counts as one in shadow mode. It is kept
// in Postgres; every instance knows it in memory, where reading it is one
// atomic load. What a Watcher reads is applied here. Its methods may be called
// from any goroutine.
type Calm struct {
	db       DB
	announce models.Announcer // told of changes; nil: nobody listens
	on       atomic.Bool

	mu      sync.Mutex
	version int64 // of what on tells
}

// NewCalm returns the switch that is kept in db. Until a Watcher has read it,
// it is off.
func NewCalm(db DB) *Calm { return &Calm{db: db} }

// AnnounceTo makes the switch announce changes. Call it before any.
func (c *Calm) AnnounceTo(announce models.Announcer) { c.announce = announce }

// On reports whether every policy is in shadow mode.
func (c *Calm) On() bool { return c.on.Load() }

const selectMode = `SELECT mode, version, changed_at FROM limiter_mode `

// Mode returns the mode as it is in Postgres. Errors: models.ErrUnavailable.
func (c *Calm) Mode(ctx context.Context) (models.LimiterMode, error) {
	rows, err := c.db.Query(ctx, selectMode)
	if err != nil {
		return models.LimiterMode{}, failure("read the limiter's mode", err)
	}
	mode, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.LimiterMode])
	return mode, failure("read the limiter's mode", err)
}

// SetMode sets the mode, audited in the same transaction, and returns it. It is
// in force here when SetMode returns. A mode that is so already stays in its
// version. Errors: models.ErrUnavailable.
func (c *Calm) SetMode(ctx context.Context, mode string) (after models.LimiterMode, err error) {
	changed := false
	err = postgres.InTx(ctx, c.db, func(tx pgx.Tx) error {
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
		return audit.Append(ctx, tx, models.Change{
			Action: "limiter.set", Target: models.ModeID, Before: auditedMode(before), After: auditedMode(after),
		})
	})
	if err == nil {
		c.apply(after.Mode, after.Version, false)
	}
	if changed && c.announce != nil { // a commit that failed may have happened
		c.announce.Changed(ctx, models.ChangedMode, models.ModeID, after.Version)
	}
	return after, failure("set the limiter's mode", err)
}

func oneMode(ctx context.Context, tx pgx.Tx, query string, args ...any) (models.LimiterMode, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return models.LimiterMode{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[models.LimiterMode])
}

func auditedMode(mode models.LimiterMode) any {
	return map[string]string{"mode": mode.Mode}
}

// apply makes a mode the one in force here, unless a later version is; forced:
// whatever is. What was read before a change may arrive after it.
func (c *Calm) apply(mode string, version int64, forced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if forced || version >= c.version {
		c.version = version
		c.on.Store(mode == models.ModeShadow)
	}
}

// shadowed is a quota with all its policies in shadow mode, made when it is
// first asked for and kept: calm is rare, and it must not cost more then than
// the limits do at other times.
type shadowed struct {
	once  sync.Once
	quota *ratelimit.Quota
}

// of returns the shadow of quota, always of the same one.
func (s *shadowed) of(quota *ratelimit.Quota) *ratelimit.Quota {
	s.once.Do(func() {
		policies := quota.Policies()
		for i := range policies {
			policies[i].Mode = ratelimit.Shadow
		}
		var err error
		if s.quota, err = ratelimit.NewQuota(policies, quota.Subjects()); err != nil {
			panic(err) // they made a quota before, and any of them can be a shadow
		}
	})
	return s.quota
}
