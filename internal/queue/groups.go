package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// gate says which groups are paused. It is checked at the start of a delivery.
type gate struct {
	mu      sync.RWMutex
	paused  map[string]bool
	changes int // by this instance
}

// isPaused reports whether no delivery of a group may start.
func (g *gate) isPaused(group string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.paused[group]
}

// set changes one group.
func (g *gate) set(group string, paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused == nil {
		g.paused = map[string]bool{}
	}
	g.paused[group] = paused
	g.changes++
}

// refresh replaces all groups by those that load returns, unless this instance
// changed one in the meantime.
func (g *gate) refresh(load func() ([]string, error)) error {
	g.mu.RLock()
	before := g.changes
	g.mu.RUnlock()
	groups, err := load()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changes == before {
		g.paused = map[string]bool{}
		for _, group := range groups {
			g.paused[group] = true
		}
	}
	return nil
}

// refreshPauses reads which groups are paused.
func (q *Queue) refreshPauses(ctx context.Context) error {
	return q.gate.refresh(func() ([]string, error) {
		rows, err := q.db.Query(ctx, `SELECT "group" FROM queue_pauses`)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	})
}

// Pause stops the deliveries of a group: when it returns, none starts on this
// instance, and within a second none on the others. Messages wait. record is
// called in the transaction of the change, for the audit log; it may be nil.
// Pausing a paused group changes nothing. Errors: models.ErrNotFound (a group that
// Stats doesn't list), models.ErrUnavailable.
func (q *Queue) Pause(ctx context.Context, group string, record func(context.Context, pgx.Tx) error) error {
	return q.setPaused(ctx, group, true, record)
}

// Resume is the opposite of Pause.
func (q *Queue) Resume(ctx context.Context, group string, record func(context.Context, pgx.Tx) error) error {
	return q.setPaused(ctx, group, false, record)
}

func (q *Queue) setPaused(ctx context.Context, group string, paused bool, record func(context.Context, pgx.Tx) error) error {
	if err := q.checkGroup(ctx, group); err != nil {
		return err
	}
	// River is paused as well, so that it doesn't fetch what the gate refuses. Its
	// pause alone takes effect later, and is forgotten when no instance has worked
	// on the group for a day.
	statement, pauseRiver := `INSERT INTO queue_pauses VALUES ($1) ON CONFLICT DO NOTHING`, q.client.QueuePauseTx
	if !paused {
		statement, pauseRiver = `DELETE FROM queue_pauses WHERE "group" = $1`, q.client.QueueResumeTx
	}
	err := postgres.InTx(ctx, q.db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, statement, group)
		if err != nil {
			return err
		}
		if err := pauseRiver(ctx, tx, group, nil); err != nil && !errors.Is(err, river.ErrNotFound) {
			return err // not found: no Worker has begun with the group
		}
		if record == nil || tag.RowsAffected() == 0 {
			return nil
		}
		return record(ctx, tx)
	})
	if err != nil {
		return postgres.Classify("pause or resume a group", err)
	}
	q.gate.set(group, paused)
	return nil
}

// checkGroup returns models.ErrNotFound if Stats doesn't list the group.
func (q *Queue) checkGroup(ctx context.Context, group string) error {
	if slices.Contains(q.groups, group) {
		return nil
	}
	stats, err := q.Stats(ctx)
	if err == nil && !slices.ContainsFunc(stats, func(s GroupStats) bool { return s.Group == group }) {
		err = fmt.Errorf("group %q: %w", group, models.ErrNotFound)
	}
	return err
}

// Stuck returns how many deliveries began longer ago than age. Errors:
// models.ErrUnavailable.
func (q *Queue) Stuck(ctx context.Context, age time.Duration) (n int64, err error) {
	err = q.db.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE state = 'running' AND kind = 'delivery' AND attempted_at < now() - $1::interval`, age).Scan(&n)
	return n, postgres.Classify("count stuck deliveries", err)
}

// GroupStats are numbers of one group's messages.
type GroupStats struct {
	Group     string
	Ready     int64         // their time has come; also those that were tried and snoozed, as while a broker is down
	Delayed   int64         // waiting for their next attempt
	InFlight  int64         // in a delivery
	Dead      int64         // dead letters
	OldestAge time.Duration // since the time of the oldest ready message came
	Paused    bool

	InBroker int64 // waiting in the broker of a Transport, if it answers; the other numbers are of Postgres
}

// transportTimeout bounds reading the numbers of a broker.
const transportTimeout = time.Second

// Stats returns the numbers of every group that is routed to, paused, or has
// messages or dead letters, sorted by name. Errors: models.ErrUnavailable.
func (q *Queue) Stats(ctx context.Context) ([]GroupStats, error) {
	rows, err := q.db.Query(ctx, `
		WITH jobs AS (
			SELECT queue,
				count(*) FILTER (WHERE due) AS ready,
				count(*) FILTER (WHERE NOT due AND state <> 'running') AS delayed,
				count(*) FILTER (WHERE state = 'running') AS in_flight,
				min(CASE WHEN metadata ? 'snoozes' THEN created_at ELSE scheduled_at END)
					FILTER (WHERE due OR state = 'running' AND metadata ? 'snoozes') AS oldest -- also while a broker that hangs is tried
			FROM river_job, LATERAL (SELECT state = 'available' AND scheduled_at <= now() OR state IN ('available', 'scheduled') AND metadata ? 'snoozes' AS due) d WHERE state IN ('available', 'retryable', 'scheduled', 'pending', 'running') AND kind = 'delivery'
			GROUP BY queue
		), dead AS (SELECT "group", count(*) AS dead FROM dead_letters GROUP BY "group"),
		names AS (SELECT unnest($1::text[]) AS name UNION SELECT queue FROM jobs UNION SELECT "group" FROM dead UNION SELECT "group" FROM queue_pauses)
		SELECT name, coalesce(ready, 0), coalesce(delayed, 0), coalesce(in_flight, 0), coalesce(dead, 0),
			greatest(extract(epoch FROM now() - oldest), 0)::float8, p."group" IS NOT NULL
		FROM names LEFT JOIN jobs ON queue = name LEFT JOIN dead d ON d."group" = name LEFT JOIN queue_pauses p ON p."group" = name
		ORDER BY name`, q.groups)
	if err != nil {
		return nil, postgres.Classify("read the numbers of the queue", err)
	}
	stats, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (GroupStats, error) {
		var s GroupStats
		var seconds *float64
		err := row.Scan(&s.Group, &s.Ready, &s.Delayed, &s.InFlight, &s.Dead, &seconds, &s.Paused)
		if seconds != nil {
			s.OldestAge = time.Duration(*seconds * float64(time.Second))
		}
		return s, err
	})
	if q.transport != nil {
		ctx, cancel := context.WithTimeout(ctx, transportTimeout)
		defer cancel()
		for i := range stats {
			stats[i].InBroker, _ = q.transport.Waiting(ctx, stats[i].Group) // 0: it is down, which others report
		}
	}
	return stats, postgres.Classify("read the numbers of the queue", err)
}
