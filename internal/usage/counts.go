package usage

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/internal/postgres"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// cell identifies one counter: the requests of a key to a route in a second.
type cell struct {
	key    string
	route  *models.Route
	second int64 // since the Unix epoch
}

// newCellHash returns a hash that maps all cells of a key to the same shard.
func newCellHash() func(cell) uint64 {
	seed := maphash.MakeSeed()
	return func(c cell) uint64 { return maphash.String(seed, c.key) }
}

// counts is the requests of a cell by outcome.
type counts struct {
	succeeded, rejected, failed, refused uint32
	firstMS, lastMS                      uint16 // first and last arrival, in milliseconds of the second
}

func (c *counts) add(outcome ratelimit.Outcome, allowed bool, ms uint16) {
	if c.requests() == 0 {
		c.firstMS, c.lastMS = ms, ms
	}
	c.firstMS, c.lastMS = min(c.firstMS, ms), max(c.lastMS, ms)
	switch {
	case !allowed:
		c.refused++
	case outcome == ratelimit.Succeeded:
		c.succeeded++
	case outcome == ratelimit.Rejected:
		c.rejected++
	default:
		c.failed++
	}
}

func (c *counts) requests() int64 {
	return int64(c.succeeded) + int64(c.rejected) + int64(c.failed) + int64(c.refused)
}

// plausible returns SQL for a time of this machine's clock. A time that is
// implausible by the database's clock, and may have no partition, is replaced by
// the database's time: one ahead comes from a wrong clock, one a day old from a
// wrong clock, a request of a day, or an outage of a day.
func plausible(at string) string {
	return `CASE WHEN ` + at + ` BETWEEN now() - interval '1 day' AND now() + interval '2 minutes' THEN ` + at + ` ELSE now() END`
}

// writeCounts writes a batch in one statement: its ID, the seconds, the roll-ups
// and the last use of each key. A batch whose ID exists writes nothing. Rows are
// sorted, so that flushes of several instances can't deadlock.
//
// The last use of a key is written at most once a minute, and is skipped while
// another transaction has the key locked.
var writeCounts = `
WITH flush AS (
	INSERT INTO usage_flushes (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id
), used AS (
	SELECT key_id, date_trunc('second', ` + plausible("u.at") + `) AS at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms
	FROM flush, unnest($2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
		$8::bigint[], $9::bigint[], $10::smallint[], $11::smallint[])
		AS u (key_id, at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms)
), counted AS (
	SELECT key_id, at, route_group, succeeded + rejected + failed + refused AS requests, refused, (succeeded + rejected) * unit AS cost
	FROM used WHERE unit > 0
), seconds AS (
	INSERT INTO usage_seconds AS old
	SELECT key_id, at, route_group, unit, sum(succeeded), sum(rejected), sum(failed), sum(refused), min(first_ms), max(last_ms)
	FROM used WHERE unit > 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
	ON CONFLICT (key_id, at, route_group, unit) DO UPDATE SET
		succeeded = old.succeeded + excluded.succeeded, rejected = old.rejected + excluded.rejected,
		failed = old.failed + excluded.failed, refused = old.refused + excluded.refused,
		first_ms = LEAST(old.first_ms, excluded.first_ms), last_ms = GREATEST(old.last_ms, excluded.last_ms)
), minutes AS (` + rollUp + `usage_minutes` + rolledUp + `'1 minute'` + rollUpEnd + `
), hours AS (` + rollUp + `usage_hours` + rolledUp + `'1 hour'` + rollUpEnd + `
), days AS (` + rollUp + `usage_days` + rolledUp + `'1 day'` + rollUpEnd + `
), last AS (
	SELECT k.id, v.at FROM (SELECT key_id, max(at) AS at FROM used GROUP BY key_id) AS v JOIN api_keys k ON k.id = v.key_id
	WHERE k.last_used_at IS NULL OR k.last_used_at < v.at - interval '1 minute'
	ORDER BY k.id FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE api_keys k SET last_used_at = last.at FROM last WHERE k.id = last.id`

// Parts of the statement for one roll-up.
const (
	rollUp   = `INSERT INTO `
	rolledUp = ` AS old
	SELECT key_id, date_bin(`
	rollUpEnd = `, at, '2000-01-01T00:00:00Z'), route_group, sum(requests), sum(refused), sum(cost)
	FROM counted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	ON CONFLICT (key_id, at, route_group) DO UPDATE SET
		requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost`
)

func (s *Service) flushCounts(ctx context.Context, batch cache.Batch[cell, counts]) error {
	s.logUncounted()
	n := len(batch.Entries)
	keys, groups, at := make([]string, n), make([]string, n), make([]time.Time, n)
	first, last := make([]int16, n), make([]int16, n)
	var numbers [5][]int64 // unit, succeeded, rejected, failed, refused
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	for i := range batch.Entries {
		e := &batch.Entries[i]
		keys[i], groups[i], at[i] = e.Key.key, string(e.Key.route.Group), time.Unix(e.Key.second, 0)
		first[i], last[i] = int16(e.Value.firstMS), int16(e.Value.lastMS)
		for j, number := range []int64{
			e.Key.route.Cost, int64(e.Value.succeeded), int64(e.Value.rejected), int64(e.Value.failed), int64(e.Value.refused),
		} {
			numbers[j][i] = number
		}
	}
	_, err := s.db.Exec(ctx, writeCounts, batch.ID, keys, at, groups,
		numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], first, last)
	s.diskFull.Store(postgres.IsDiskFull(err))
	if err != nil {
		return s.createMissingPartitions(ctx, fmt.Errorf("write usage: %w", err))
	}
	return nil
}

func (s *Service) onCountsDropped(batch cache.Batch[cell, counts], err error) {
	var requests int64
	for i := range batch.Entries {
		requests += batch.Entries[i].Value.requests()
	}
	s.uncounted.Add(requests)
	s.log.Error("usage: dropped a batch of counts", "requests", requests, "since", batch.At, "error", err.Error())
}
