package audit

import (
	"context"
	"log/slog"
	"time"
)

// Life is how long an entry is kept at least: thirteen months, so that a year's
// review still finds the year.
const Life = 400 * 24 * time.Hour

// How old entries are removed: a batch takes some milliseconds, and there are
// few a day. They are not partitions, for the command line writes too, and must
// not need a server that makes the next one.
const (
	pruneBatch    = 1_000
	pruneInterval = time.Hour
	pruneTimeout  = 30 * time.Second
)

// Keep removes what is older than Life, in small batches every hour, until ctx
// ends. A failure is logged, and tried again the next time.
func (l *Log) Keep(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			removed, err := l.Prune(ctx, time.Now())
			if err != nil && ctx.Err() == nil {
				log.Warn("audit: old entries could not be removed; trying again later", "error", err.Error())
			}
			more = err == nil && removed == pruneBatch
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Prune removes one batch, the oldest first, of what is older than Life at now,
// and returns how many entries that were. Errors: models.ErrUnavailable.
func (l *Log) Prune(ctx context.Context, now time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	tag, err := l.db.Exec(ctx, `
		DELETE FROM audit_log WHERE (at, id) IN (
			SELECT at, id FROM audit_log WHERE at < $1 ORDER BY at, id LIMIT $2)`, now.Add(-Life), pruneBatch)
	if err != nil {
		return 0, failure("remove old entries", err)
	}
	return tag.RowsAffected(), nil
}
