package usage

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"ratelimiter/internal/cache"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// cell is what is counted together: a key's requests to a route in a second.
type cell struct {
	key    string
	route  *models.Route
	second int64 // of the Unix epoch
}

// newCellHash puts the cells of a key into one shard.
func newCellHash() func(cell) uint64 {
	seed := maphash.MakeSeed()
	return func(c cell) uint64 { return maphash.String(seed, c.key) }
}

// counts is how many requests of a cell ended how, and when in the second the
// first and the last of them came.
type counts struct {
	succeeded, rejected, failed, refused uint32
	firstMS, lastMS                      uint16
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

// maxAge is how late a request may be counted for the second in which it came:
// there has to be a partition. One that ran for longer counts when it ended.
const maxAge = 24 * time.Hour

// writeCounts counts a batch once, in one statement: its id, the seconds, what
// they add to each roll-up, and when the keys were last used. Rows are sorted,
// so that two instances never wait for each other in a circle.
//
// A key's last use is written once a minute at most, and never waits for
// somebody who is changing the key.
const writeCounts = `
WITH flush AS (
	INSERT INTO usage_flushes (id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id
), used AS (
	SELECT u.* FROM flush, unnest($3::text[], $4::timestamptz[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
		$9::bigint[], $10::bigint[], $11::smallint[], $12::smallint[])
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

// The parts of the statement of one roll-up.
const (
	rollUp   = `INSERT INTO `
	rolledUp = ` AS old
	SELECT key_id, date_bin(`
	rollUpEnd = `, at, '2000-01-01T00:00:00Z'), route_group, sum(requests), sum(refused), sum(cost)
	FROM counted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
	ON CONFLICT (key_id, at, route_group) DO UPDATE SET
		requests = old.requests + excluded.requests, refused = old.refused + excluded.refused, cost = old.cost + excluded.cost`
)

// flushCounts writes a batch.
func (s *Service) flushCounts(ctx context.Context, batch cache.Batch[cell, counts]) error {
	s.tell()
	n := len(batch.Entries)
	keys, groups, at := make([]string, n), make([]string, n), make([]time.Time, n)
	first, last := make([]int16, n), make([]int16, n)
	var numbers [5][]int64 // unit, succeeded, rejected, failed, refused
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	oldest := batch.At.Add(-maxAge)
	for i := range batch.Entries {
		e := &batch.Entries[i]
		keys[i], groups[i], at[i] = e.Key.key, string(e.Key.route.Group), time.Unix(e.Key.second, 0)
		if at[i].Before(oldest) {
			at[i] = batch.At.Truncate(time.Second)
		}
		first[i], last[i] = int16(e.Value.firstMS), int16(e.Value.lastMS)
		for j, number := range []int64{
			e.Key.route.Cost, int64(e.Value.succeeded), int64(e.Value.rejected), int64(e.Value.failed), int64(e.Value.refused),
		} {
			numbers[j][i] = number
		}
	}
	_, err := s.db.Exec(ctx, writeCounts, batch.ID, batch.At, keys, at, groups,
		numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], first, last)
	if err != nil {
		return s.mend(ctx, fmt.Errorf("write usage: %w", err))
	}
	return nil
}

// lostCounts tells of a batch that was given up.
func (s *Service) lostCounts(batch cache.Batch[cell, counts], err error) {
	var requests int64
	for i := range batch.Entries {
		requests += batch.Entries[i].Value.requests()
	}
	s.lost.Add(requests)
	s.log.Error("usage: a batch was lost", "requests", requests, "since", batch.At, "error", err.Error())
}
