package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/migrations"
)

// readiness knows whether requests can be served. It is the handlers'
// Readiness.
type readiness struct {
	db       *pgxpool.Pool
	open     atomic.Bool // the schema was brought up to date
	draining atomic.Bool // there was a signal

	every   time.Duration // how long an answer of the database's stands: anybody may ask, and often
	mu      sync.Mutex
	askedAt time.Time
	reason  string
}

// NotReady returns why requests can't be served now, or "".
func (r *readiness) NotReady(ctx context.Context) string {
	if !r.open.Load() || r.draining.Load() {
		return "Not ready: starting, or shutting down."
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.askedAt) >= r.every {
		r.reason = r.ask(ctx)
		r.askedAt = time.Now()
	}
	return r.reason
}

func (r *readiness) ask(ctx context.Context) string {
	pending, err := postgres.Pending(ctx, r.db, migrations.FS)
	switch {
	case err != nil:
		return "Not ready: the database can't be reached."
	case pending:
		return "Not ready: a migration is pending; run 'ratelimiter migrate'."
	default:
		return ""
	}
}
