package events

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// warnLag is the lag from which it is logged.
const warnLag = 10 * time.Second

// Blocker is the oldest transaction that writes. Owners' feeds contain what was
// committed before it began, and the rest when it ends.
type Blocker struct {
	PID         int    // of its server process; 0: it is prepared and has none
	Application string // application_name of its connection; of a prepared transaction its id
	Age         time.Duration
}

// lag observes how far owners' feeds are behind.
type lag struct {
	log     *slog.Logger
	blocker atomic.Pointer[Blocker] // nil: none for at least one poll

	xmin   int64 // of the last observation
	warned bool
}

// observe updates the lag. A transaction is a blocker when two observations in
// sequence find it the oldest one.
func (g *lag) observe(ctx context.Context, db *pgxpool.Pool) error {
	var xmin, xmax int64
	err := db.QueryRow(ctx, `
		SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() s`).Scan(&xmin, &xmax)
	if err != nil {
		return postgres.Classify("observe the event feed", err)
	}
	blocked := xmin == g.xmin && xmin < xmax
	g.xmin = xmin
	var found *Blocker
	if blocked {
		if found, err = findBlocker(ctx, db); err != nil {
			return postgres.Classify("find what holds up the event feed", err)
		}
	}
	before := g.blocker.Swap(found)
	switch {
	case found == nil && g.warned:
		g.warned = false
		g.log.Info("event feeds are current again", "lag", before.Age.String())
	case found != nil && found.Age >= warnLag && !g.warned:
		g.warned = true
		g.log.Warn("event feeds are held up by a long transaction; streams of single orders are not",
			"pid", found.PID, "application_name", found.Application, "age", found.Age.String())
	}
	return nil
}

// findBlocker returns the oldest transaction that writes; nil: it has ended. Every
// role may see the locks; others' activity only with pg_read_all_stats.
func findBlocker(ctx context.Context, db *pgxpool.Pool) (*Blocker, error) {
	var b Blocker
	var seconds float64
	err := db.QueryRow(ctx, `
		SELECT COALESCE(l.pid, 0), COALESCE(a.application_name, p.gid, ''),
			COALESCE(extract(epoch FROM clock_timestamp() - COALESCE(a.xact_start, p.prepared)), 0)
		FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) LEFT JOIN pg_prepared_xacts p ON p.transaction = l.transactionid
		WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
		ORDER BY age(l.transactionid) DESC LIMIT 1`).Scan(&b.PID, &b.Application, &seconds)
	if err == pgx.ErrNoRows {
		return nil, nil
	}
	b.Age = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	b.Application = printable(b.Application)
	return &b, err
}

// printable returns a name that a client chose, for logs and metrics.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}

// Blocker returns the transaction that holds up owners' feeds for some seconds or
// more, as of the last observation; nil: none does.
func (l *Log) Blocker() *Blocker { return l.lag.blocker.Load() }

// Stats are figures of a Log since its start.
type Stats struct {
	Reads    int64 // queries for events
	Topics   int   // streams that are waited for, or were some seconds ago
	Watchers int   // calls of Wait that wait
}

// Stats returns the present figures.
func (l *Log) Stats() Stats {
	s := Stats{Reads: l.reads.Load()}
	s.Topics, s.Watchers = l.hub.counts()
	return s
}
