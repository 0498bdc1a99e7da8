package events

import (
	"context"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

// historyQuery reads the present history. Transaction ids are assigned in the order of time within a history only: a backup
// that is restored into another cluster, or to an earlier time, which begins a new
// timeline, or into another database, continues from an earlier state.
const historyQuery = `
	SELECT concat_ws(' ',
		(SELECT system_identifier FROM pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
		(SELECT oid FROM pg_database WHERE datname = current_database()))`

// checkHistory raises the epoch if the history has changed, and has all streams
// read again after a change. Cursors of feeds expire then, and those of orders if
// their event doesn't exist. The epoch stays if the database doesn't say what its
// history is: some don't permit its functions.
func (l *Log) checkHistory(ctx context.Context) error {
	var epoch int64
	var known, present string
	if err := l.db.QueryRow(ctx, `SELECT epoch, COALESCE(history, '') FROM event_epoch`).Scan(&epoch, &known); err != nil {
		return postgres.Classify("read the event epoch", err)
	}
	switch err := l.db.QueryRow(ctx, historyQuery).Scan(&present); {
	case err == nil:
		l.unknown.Store(false)
	case ctx.Err() != nil || postgres.IsUnavailable(err):
		return postgres.Classify("read the database's history", err)
	default:
		present = known
		if !l.unknown.Swap(true) {
			l.log.Warn("a restored backup can't be recognized, because the database's history can't be read: permit pg_control_system, "+
				"pg_walfile_name and pg_current_wal_lsn, or raise epoch in the table event_epoch by 1 after restoring", "error", err.Error())
		}
	}
	if known != present {
		if err := l.raiseEpoch(ctx, present, &epoch); err != nil {
			return postgres.Classify("raise the event epoch", err)
		}
		if known != "" {
			l.log.Warn("the database has another history, such as after restoring a backup: cursors of event feeds have expired", "epoch", epoch)
		}
	}
	if before := l.epoch.Swap(epoch); before != epoch {
		for _, t := range l.hub.all() {
			t.wake()
		}
	}
	return nil
}

// raiseEpoch raises the epoch, unless another instance did. The lock waits for the
// transactions that append in the present epoch: they must not commit after
// somebody has read in the next one.
func (l *Log) raiseEpoch(ctx context.Context, history string, epoch *int64) error {
	return postgres.InTx(ctx, l.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE event_epoch IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
			UPDATE event_epoch SET history = $1,
				epoch = epoch + CASE WHEN history IS NULL OR history = $1 THEN 0 ELSE 1 END
			RETURNING epoch`, history).Scan(epoch)
	})
}
