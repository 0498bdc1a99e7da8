package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

// packedSpan is the time that one row of usage_packed covers.
const packedSpan = 10 * time.Minute

// PackInterval is a suitable interval between calls of Pack: usage_recent has the
// rows of about a quarter of an hour.
const PackInterval = 5 * time.Minute

// packDelay is the time that flushes of a complete span are waited for. Rows that
// arrive later are packed too, in rows of their own.
const packDelay = time.Minute

// packBatch is how many rows one statement packs, in less than a second.
const packBatch = 50_000

// packEnd selects key, time and number of the last row of a batch.
const packEnd = `
SELECT key_id, at, n FROM (
	SELECT key_id, at, row_number() OVER (ORDER BY key_id, at) AS n FROM usage_recent WHERE at < $1 ORDER BY key_id, at LIMIT $2
) AS batch ORDER BY n DESC LIMIT 1`

// pack moves the rows of usage_recent before $1, up to the key and time ($2, $3), to
// usage_packed and adds them to the roll-ups, in one statement: a row is in
// usage_recent or in all the others.
var pack = `
WITH moved AS (
	DELETE FROM usage_recent WHERE at < $1 AND (key_id, at) <= ($2, $3) RETURNING *
), counted AS (
	SELECT key_id, date_bin('1 minute', at, '2000-01-01T00:00:00Z') AS at, route_group, sum(succeeded + rejected + failed + refused) AS requests,
		sum(refused) AS refused, sum((succeeded + rejected) * unit) AS cost
	FROM moved GROUP BY 1, 2, 3
), minutes AS (` + rollUp("usage_minutes", "1 minute") + `
), hours AS (` + rollUp("usage_hours", "1 hour") + `
), days AS (` + rollUp("usage_days", "1 day") + `
)
INSERT INTO usage_packed
SELECT key_id, span, route_group, unit, array_agg(extract(epoch FROM at - span)::smallint),
	array_agg(succeeded), array_agg(rejected), array_agg(failed), array_agg(refused), array_agg(first_ms), array_agg((last_ms - first_ms)::smallint)
FROM (
	SELECT key_id, date_bin('10 minutes', at, '2000-01-01T00:00:00Z') AS span, route_group, unit, at, sum(succeeded) AS succeeded,
		sum(rejected) AS rejected, sum(failed) AS failed, sum(refused) AS refused, min(first_ms) AS first_ms, max(last_ms) AS last_ms
	FROM moved GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
) AS seconds GROUP BY 1, 2, 3, 4`

// rollUp returns SQL that adds counted to a table of buckets of a width. Rows are
// sorted, so that it can't deadlock with flushes of the previous release.
func rollUp(table, width string) string {
	return `
	INSERT INTO ` + table + ` AS old
	SELECT key_id, date_bin('` + width + `', at, '2000-01-01T00:00:00Z'), route_group, sum(requests), sum(refused), sum(cost)
	FROM counted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	ON CONFLICT (key_id, at, route_group) DO UPDATE SET
		requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost`
}

// Pack moves one batch of rows of usage_recent whose span is complete at now to
// usage_packed, adds them to the roll-ups, and reports whether there may be more.
// One instance does so at a time. now is the database's time.
func (s *Service) Pack(ctx context.Context, now time.Time) (more bool, err error) {
	before := now.Add(-packDelay).Truncate(packedSpan)
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		var locked bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtext('pack_usage'))`).Scan(&locked); err != nil || !locked {
			return err
		}
		// Without this, Postgres may sort all rows for each batch instead of reading the index.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_sort = off`); err != nil {
			return err
		}
		var key string
		var at time.Time
		var rows int
		err := tx.QueryRow(ctx, packEnd, before, packBatch).Scan(&key, &at, &rows)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			more = rows == packBatch
			_, err = tx.Exec(ctx, pack, before, key, at)
		}
		return err
	})
	if err != nil {
		return false, s.createMissingPartitions(ctx, fmt.Errorf("pack usage: %w", err))
	}
	return more, nil
}

// secondsOf selects the seconds of a key in [$2, $3), packed or not. A second can
// have several rows. usage_seconds has rows of the previous release.
const secondsOf = `
	SELECT key_id, at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms FROM usage_recent
	WHERE ` + ofSubject + ` AND at >= $2 AND at < $3
	UNION ALL
	SELECT key_id, at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms FROM usage_seconds
	WHERE ` + ofSubject + ` AND at >= $2 AND at < $3
	UNION ALL
	SELECT key_id, at + s.second * interval '1 second', route_group, unit, s.succeeded, s.rejected, s.failed, s.refused, s.first_ms, s.first_ms + s.span_ms
	FROM usage_packed, unnest(second, succeeded, rejected, failed, refused, first_ms, span_ms)
		AS s (second, succeeded, rejected, failed, refused, first_ms, span_ms)
	WHERE ` + ofSubject + ` AND at > $2::timestamptz - interval '10 minutes' AND at < $3
		AND at + s.second * interval '1 second' >= $2 AND at + s.second * interval '1 second' < $3`
