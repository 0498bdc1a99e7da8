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

// PackInterval is a suitable interval between calls of Pack: usage_seconds has the
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
	SELECT key_id, at, row_number() OVER (ORDER BY key_id, at) AS n FROM usage_seconds WHERE at < $1 ORDER BY key_id, at LIMIT $2
) AS batch ORDER BY n DESC LIMIT 1`

// pack moves the rows of usage_seconds before $1, up to the key and time ($2, $3),
// to usage_packed.
const pack = `
WITH moved AS (
	DELETE FROM usage_seconds WHERE at < $1 AND (key_id, at) <= ($2, $3) RETURNING *, date_bin('10 minutes', at, '2000-01-01T00:00:00Z') AS span
)
INSERT INTO usage_packed
SELECT key_id, span, route_group, unit, array_agg(extract(epoch FROM at - span)::smallint ORDER BY at),
	array_agg(succeeded ORDER BY at), array_agg(rejected ORDER BY at), array_agg(failed ORDER BY at), array_agg(refused ORDER BY at),
	array_agg(first_ms ORDER BY at), array_agg(last_ms - first_ms ORDER BY at)
FROM moved GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`

// Pack moves one batch of rows of usage_seconds whose span is complete at now to
// usage_packed and reports whether there may be more. One instance does so at a
// time. now is the database's time.
func (s *Service) Pack(ctx context.Context, now time.Time) (more bool, err error) {
	before := now.Add(-packDelay).Truncate(packedSpan)
	err = postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		var locked bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(hashtext('pack_usage'))`).Scan(&locked); err != nil || !locked {
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
		return false, fmt.Errorf("pack usage: %w", err)
	}
	return more, nil
}

// secondsOf selects the seconds of a key in [$2, $3), packed or not. A second can
// have several rows.
const secondsOf = `
	SELECT key_id, at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms FROM usage_seconds
	WHERE ` + ofSubject + ` AND at >= $2 AND at < $3
	UNION ALL
	SELECT key_id, at + s.second * interval '1 second', route_group, unit, s.succeeded, s.rejected, s.failed, s.refused, s.first_ms, s.first_ms + s.span_ms
	FROM usage_packed, unnest(second, succeeded, rejected, failed, refused, first_ms, span_ms)
		AS s (second, succeeded, rejected, failed, refused, first_ms, span_ms)
	WHERE ` + ofSubject + ` AND at > $2::timestamptz - interval '10 minutes' AND at < $3
		AND at + s.second * interval '1 second' >= $2 AND at + s.second * interval '1 second' < $3`
