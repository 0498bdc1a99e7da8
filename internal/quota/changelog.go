package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/models"
)

// Bounds of the log of changes.
const (
	// logLife is how long a change stays in the log.
	logLife = time.Hour
	// maxAway is how long a reader may have been away and still catch up from
	// the log; half its life, so that nothing it needs was removed.
	maxAway = logLife / 2
	// maxRead is how many changes are worth reading: to forget everything is
	// cheaper than more of them.
	maxRead = 10_000
	// readTimeout bounds one read.
	readTimeout = 2 * time.Second
	// pruneBatch is how many rows one statement removes, for some ms of work.
	pruneBatch = 1_000
)

// changeLog reads the log of changes in Postgres, each row once. It is for one
// goroutine.
//
// Rows don't become visible in any order of their own: a transaction can take
// its number, or a sequence's, early and commit late, so that a reader who asks
// for what is above the highest that it has seen loses changes. Instead each
// read notes its snapshot's xmin, below which every transaction had ended: what
// of theirs is in the log was in that read. All that it can't have seen is of
// transactions from xmin on, and the next read begins there. It meets again
// what was read of those, which seen leaves out.
type changeLog struct {
	xmin uint64    // of the last read; 0: there was none
	at   time.Time // of the last read, by Postgres's clock
	seen map[int64]logged
	// known is the same changes by what a notification tells of them.
	known map[change]struct{}
}

// logged is a row that was read.
type logged struct {
	xid uint64
	change
}

func newChangeLog() *changeLog {
	return &changeLog{seen: map[int64]logged{}, known: map[change]struct{}{}}
}

// reading is what one read found.
type reading struct {
	changes []change
	// everything: what was changed can't be told, so everything may have been.
	everything bool
	// restored: Postgres's own history is another one than before, and the mode
	// in it counts even if its version is a lower one.
	restored bool
	mode     string
	version  int64 // of the mode
}

// readQuery reads the mode and the changes in one snapshot. One row without a
// change at least.
const readQuery = `
	SELECT pg_snapshot_xmin(pg_current_snapshot())::text, clock_timestamp(),
	       m.mode, m.version, c.seq, c.xid::text, c.kind, c.id, c.version
	FROM limiter_mode m
	LEFT JOIN (SELECT * FROM changes WHERE xid >= $1::text::xid8 ORDER BY xid, seq LIMIT $2) c ON true`

// read returns what is new in the log, and the mode.
func (l *changeLog) read(ctx context.Context, conn *pgx.Conn) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var (
		found               reading
		xminText            string
		at                  time.Time
		seq, version        *int64
		xidText, kind, name *string
	)
	rows, err := conn.Query(ctx, readQuery, strconv.FormatUint(l.from(), 10), maxRead+1)
	if err != nil {
		return reading{}, fmt.Errorf("read the log of changes: %w", err)
	}
	fresh := map[int64]logged{}
	count := 0
	_, err = pgx.ForEachRow(rows, []any{&xminText, &at, &found.mode, &found.version, &seq, &xidText, &kind, &name, &version}, func() error {
		count++
		if seq == nil {
			return nil
		}
		xid, err := strconv.ParseUint(*xidText, 10, 64)
		fresh[*seq] = logged{xid, change{models.ChangeKind(*kind), *name, *version}}
		return err
	})
	if err != nil {
		return reading{}, fmt.Errorf("read the log of changes: %w", err)
	}
	if count == 0 {
		return reading{}, errNoMode
	}
	xmin, err := strconv.ParseUint(xminText, 10, 64)
	if err != nil {
		return reading{}, fmt.Errorf("read the log of changes: %w", err)
	}
	l.advance(&found, fresh, xmin, at)
	return found, nil
}

// errNoMode is a table without its one row.
var errNoMode = errors.New("the table limiter_mode is empty: somebody removed its row")

// from is the first transaction whose changes are to be read. Before the first
// read there is nothing in memory that they could concern.
func (l *changeLog) from() uint64 {
	if l.xmin == 0 {
		return math.MaxUint64
	}
	return l.xmin
}

// advance takes what was read into account: fresh is the rows from the last
// xmin on.
func (l *changeLog) advance(found *reading, fresh map[int64]logged, xmin uint64, at time.Time) {
	first := l.xmin == 0
	found.restored = first || xmin < l.xmin // a server's xmin never goes back
	found.everything = found.restored || len(fresh) > maxRead || at.Sub(l.at) > maxAway
	if found.restored {
		clear(l.seen)
		clear(l.known)
	}
	for seq, row := range fresh {
		if _, met := l.seen[seq]; !met {
			l.seen[seq] = row
			l.known[row.change] = struct{}{}
			found.changes = append(found.changes, row.change)
		}
	}
	l.xmin, l.at = xmin, at
	maps.DeleteFunc(l.seen, func(_ int64, row logged) bool {
		if row.xid < xmin {
			delete(l.known, row.change)
		}
		return row.xid < xmin
	})
}

// isNews reports whether a notification tells of what wasn't read yet, or tells
// nothing, which is to say: read.
func (l *changeLog) isNews(payload string) bool {
	told := parsePayload(payload)
	for _, c := range told {
		// What is gone, or new, can be so again, in the same version.
		if _, read := l.known[c]; !read || c.version <= 1 {
			return true
		}
	}
	return len(told) == 0
}

// prune removes a batch of what is older than logLife, and reports whether
// there may be more.
func prune(ctx context.Context, conn *pgx.Conn) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// The oldest by the primary key are the oldest by time, nearly.
	tag, err := conn.Exec(ctx, `
		DELETE FROM changes c USING (
			SELECT xid, seq FROM (SELECT xid, seq, at FROM changes ORDER BY xid, seq LIMIT $1) oldest
			WHERE at < clock_timestamp() - make_interval(secs => $2)
		) old WHERE (c.xid, c.seq) = (old.xid, old.seq)`, pruneBatch, logLife.Seconds())
	if err != nil {
		return false, fmt.Errorf("prune the log of changes: %w", err)
	}
	return tag.RowsAffected() == pruneBatch, nil
}
