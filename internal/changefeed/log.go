package changefeed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Bounds of the change log.
const (
	// retention is how long a change stays in the log.
	retention = time.Hour
	// maxAbsence is the longest pause after which a reader can still catch up
	// from the log: half the retention, so that nothing it needs was deleted.
	maxAbsence = retention / 2
	// maxRead is how many changes are read one by one. Invalidating everything
	// is cheaper than reading more.
	maxRead = 10_000
	// readTimeout bounds one read.
	readTimeout = 2 * time.Second
	// pruneBatch is how many rows one statement deletes; it takes milliseconds.
	pruneBatch = 1_000
)

// changeLog reads the change log in Postgres, each row once. It is not safe for
// concurrent use.
//
// Rows don't become visible in the order of their transaction or sequence
// numbers: a transaction can take its number early and commit late, so that a
// reader that continues after the highest number seen loses changes. Instead
// each read keeps the xmin of its snapshot, below which every transaction had
// ended, and the next read begins there. Rows of transactions from xmin on are
// read again; seen filters them out.
type changeLog struct {
	xmin  uint64           // of the last read; 0: none yet
	epoch int64            // of the last read: of the transactions' numbers; see internal/events
	at    time.Time        // of the last read, by Postgres's clock
	seen  map[int64]uint64 // transactions of the rows from xmin on, by sequence number
}

// row is a row of the log.
type row struct {
	xid   uint64
	event models.ChangeEvent
}

func newChangeLog() *changeLog {
	return &changeLog{seen: map[int64]uint64{}}
}

// readResult is the result of one read.
type readResult struct {
	events []models.ChangeEvent // new ones
	all    bool                 // the changes are unknown: everything may have changed
	// restored is set when the cluster's history differs from the last read's,
	// as after restoring a backup or promoting a standby. The stored mode is valid even if its version
	// is lower then.
	restored bool
	mode     string
	version  int64 // of the mode
}

// readQuery reads the mode and the changes in one snapshot. Without changes it
// returns one row.
const readQuery = `
	SELECT pg_snapshot_xmin(pg_current_snapshot()), COALESCE((SELECT epoch FROM event_epoch), 0), clock_timestamp(),
	       m.mode, m.version, c.seq, c.xid, c.kind, c.id, c.version
	FROM limiter_mode m
	LEFT JOIN (SELECT * FROM changes WHERE xid >= $1::text::xid8 ORDER BY xid, seq LIMIT $2) c ON true`

// read returns the new events and the mode.
func (l *changeLog) read(ctx context.Context, conn *pgx.Conn) (readResult, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var (
		found        readResult
		xmin         uint64
		epoch        int64
		at           time.Time
		seq, version *int64
		xid          *uint64
		kind, name   *string
	)
	from := cmp.Or(l.xmin, math.MaxUint64)                                         // before the first read nothing is cached that changes could invalidate
	rows, _ := conn.Query(ctx, readQuery, strconv.FormatUint(from, 10), maxRead+1) // ForEachRow returns its error
	fresh := map[int64]row{}
	tag, err := pgx.ForEachRow(rows, []any{&xmin, &epoch, &at, &found.mode, &found.version, &seq, &xid, &kind, &name, &version}, func() error {
		if seq != nil {
			fresh[*seq] = row{*xid, models.ChangeEvent{Kind: models.ChangeKind(*kind), ID: *name, Version: *version}}
		}
		return nil
	})
	if err != nil {
		return readResult{}, fmt.Errorf("read change log: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return readResult{}, errNoMode
	}
	l.advance(&found, fresh, xmin, epoch, at)
	return found, nil
}

var errNoMode = errors.New("the table limiter_mode is empty; it must have one row")

// advance processes the rows from the last xmin on.
func (l *changeLog) advance(found *readResult, fresh map[int64]row, xmin uint64, epoch int64, at time.Time) {
	first := l.xmin == 0
	found.restored = first || xmin < l.xmin || epoch != l.epoch // a server's xmin never goes back
	found.all = found.restored || len(fresh) > maxRead || at.Sub(l.at) > maxAbsence
	if found.restored {
		clear(l.seen)
	}
	for seq, r := range fresh {
		if _, met := l.seen[seq]; !met {
			l.seen[seq] = r.xid
			found.events = append(found.events, r.event)
		}
	}
	l.xmin, l.epoch, l.at = xmin, epoch, at
	maps.DeleteFunc(l.seen, func(_ int64, xid uint64) bool { return xid < xmin })
}

// PruneInterval is a suitable interval between calls of Prune.
const PruneInterval = time.Minute

// Prune deletes one batch of expired changes, by the database's clock, and
// reports whether there may be more. Errors: models.ErrUnavailable.
func Prune(ctx context.Context, db *pgxpool.Pool) (more bool, err error) {
	// The oldest rows by primary key are nearly the oldest by time.
	tag, err := db.Exec(ctx, `
		DELETE FROM changes c USING (
			SELECT xid, seq FROM (SELECT xid, seq, at FROM changes ORDER BY xid, seq LIMIT $1) oldest
			WHERE at < clock_timestamp() - make_interval(secs => $2)
		) old WHERE (c.xid, c.seq) = (old.xid, old.seq)`, pruneBatch, retention.Seconds())
	return tag.RowsAffected() == pruneBatch, postgres.Classify("prune change log", err)
}
