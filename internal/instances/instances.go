// Package instances counts the running instances by their heartbeats in Postgres.
package instances

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// beat is the interval of heartbeats, and bound of the statement.
	beat = 5 * time.Second
	// lifetime is how long an instance is counted after its last heartbeat, so that
	// a few may be lost.
	lifetime = 30 * time.Second
)

// Counter counts the running instances. Create it with New. It is safe for
// concurrent use.
type Counter struct {
	db     *pgxpool.Pool
	log    *slog.Logger
	id     string
	count  atomic.Int64
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// New returns a counter of the instances in db.
func New(db *pgxpool.Pool, log *slog.Logger) *Counter {
	c := &Counter{db: db, log: log, id: rand.Text()}
	c.count.Store(1)
	return c
}

// Count returns the number of running instances at the last heartbeat, this one
// included. While Postgres is down, it is the last count.
func (c *Counter) Count() int { return int(c.count.Load()) }

// Name returns "instances".
func (*Counter) Name() string { return "instances" }

// Start begins with a heartbeat, so that Count is right from then on if Postgres
// answers, and repeats it in the background.
func (c *Counter) Start(ctx context.Context) error {
	failing := c.report(c.heartbeat(ctx), false)
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.ended.Go(func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				failing = c.report(c.heartbeat(ctx), failing)
			}
		}
	})
	return nil
}

// report logs the first of several failures.
func (c *Counter) report(err error, failing bool) bool {
	if err != nil && !failing {
		c.log.Warn("instances: heartbeat failed", "error", err)
	}
	return err != nil
}

// heartbeat records that this instance runs, forgets those that don't, and counts.
// All times are the database's. The count is of the snapshot before the statement,
// without this instance and the deleted ones.
func (c *Counter) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	var n int64
	err := c.db.QueryRow(ctx, `
WITH mine AS (
    INSERT INTO instances (id, seen_at) VALUES ($1, now())
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
), dead AS (
    DELETE FROM instances
    WHERE id IN (
        SELECT id FROM instances WHERE seen_at < now() - make_interval(secs => $2) AND id <> $1 ORDER BY id FOR UPDATE SKIP LOCKED
    )
)
SELECT 1 + count(*) FROM instances WHERE id <> $1 AND seen_at >= now() - make_interval(secs => $2)`,
		c.id, lifetime.Seconds()).Scan(&n)
	if err == nil {
		c.count.Store(n)
	}
	return err
}

// Stop ends the heartbeats and removes this instance, so that the others don't
// count it. If that fails, they do so for the lifetime of a heartbeat.
func (c *Counter) Stop(ctx context.Context) error {
	c.cancel()
	c.ended.Wait()
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	_, err := c.db.Exec(ctx, `DELETE FROM instances WHERE id = $1`, c.id)
	return err
}
