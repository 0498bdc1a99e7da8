package app

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

// checkInterval is how long a database check is reused, because anybody may ask
// often.
const checkInterval = time.Second

// checkTimeout bounds a check, because a database that hangs answers nothing.
const checkTimeout = 2 * time.Second

// readiness reports whether requests can be served. It implements
// handlers.Readiness.
type readiness struct {
	db       *pgxpool.Pool
	diskFull func() bool  // the database's
	broker   func() error // why the broker can't be used; nil: it can, or there is none
	started  atomic.Bool
	stopped  atomic.Bool

	mu        sync.Mutex
	checkedAt time.Time
	reason    string
}

func newReadiness(db *pgxpool.Pool, diskFull func() bool, broker func() error) *readiness {
	return &readiness{db: db, diskFull: diskFull, broker: broker}
}

// Limitation returns what doesn't work although requests can be served, or "".
func (r *readiness) Limitation() string {
	if r.broker() != nil {
		return "The message broker can't be used: orders are accepted, and their messages wait."
	}
	return ""
}

func (r *readiness) start() { r.started.Store(true) }
func (r *readiness) stop()  { r.stopped.Store(true) }

// NotReady returns why requests can't be served now, or "".
func (r *readiness) NotReady(ctx context.Context) string {
	if !r.started.Load() || r.stopped.Load() {
		return "Not ready: starting or shutting down."
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checkedAt) >= checkInterval {
		r.reason = r.check(ctx)
		r.checkedAt = time.Now()
	}
	return r.reason
}

// check ignores that ctx is canceled: others get the result too, and a caller
// that hangs up must not make the server unready for them.
func (r *readiness) check(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	writable, err := postgres.Writable(ctx, r.db)
	if err != nil {
		return "Not ready: the database is unreachable."
	}
	pending, err := postgres.Pending(ctx, r.db, migrations.FS)
	switch {
	case err != nil:
		return "Not ready: the database is unreachable."
	case pending:
		return "Not ready: a migration is pending; run 'ratelimiter migrate'."
	case !writable:
		return "Not ready: the database is read-only."
	case r.diskFull():
		return "Not ready: the database has no space left."
	default:
		return ""
	}
}
