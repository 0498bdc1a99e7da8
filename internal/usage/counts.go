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

// writeCounts writes a batch in one statement: its ID, the seconds, and the last use
// of each key. A batch whose ID exists writes nothing. Rows are sorted, so that those
// of a key are close to each other.
//
// The last use of a key is written at most once a minute, and is skipped while
// another transaction has the key locked.
var writeCounts = `
WITH flush AS (
	INSERT INTO usage_flushes (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id
), used AS (
	SELECT key_id, date_trunc('second', ` + plausible("u.at") + `) AS at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms
	FROM flush, unnest($2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::integer[], $7::integer[],
		$8::integer[], $9::integer[], $10::smallint[], $11::smallint[])
		AS u (key_id, at, route_group, unit, succeeded, rejected, failed, refused, first_ms, last_ms)
), seconds AS (
	INSERT INTO usage_recent SELECT * FROM used WHERE unit > 0 ORDER BY key_id
), last AS (
	SELECT k.id, v.at FROM (SELECT key_id, max(at) AS at FROM used GROUP BY key_id) AS v JOIN api_keys k ON k.id = v.key_id
	WHERE k.last_used_at IS NULL OR k.last_used_at < v.at - interval '1 minute'
	ORDER BY k.id FOR NO KEY UPDATE OF k SKIP LOCKED
)
UPDATE api_keys k SET last_used_at = last.at FROM last WHERE k.id = last.id`

func (s *Service) flushCounts(ctx context.Context, batch cache.Batch[cell, counts]) error {
	s.logUncounted()
	n := len(batch.Entries)
	keys, groups, at := make([]string, n), make([]string, n), make([]time.Time, n)
	units, first, last := make([]int64, n), make([]int16, n), make([]int16, n)
	var numbers [4][]int32 // succeeded, rejected, failed, refused
	for i := range numbers {
		numbers[i] = make([]int32, n)
	}
	for i := range batch.Entries {
		e := &batch.Entries[i]
		keys[i], groups[i], at[i], units[i] = e.Key.key, string(e.Key.route.Group), time.Unix(e.Key.second, 0), e.Key.route.Cost
		first[i], last[i] = int16(e.Value.firstMS), int16(e.Value.lastMS)
		for j, number := range []uint32{e.Value.succeeded, e.Value.rejected, e.Value.failed, e.Value.refused} {
			numbers[j][i] = int32(number)
		}
	}
	_, err := s.db.Exec(ctx, writeCounts, batch.ID, keys, at, groups, units, numbers[0], numbers[1], numbers[2], numbers[3], first, last)
	s.diskFull.Store(postgres.IsDiskFull(err))
	if err != nil {
		return fmt.Errorf("write usage: %w", err)
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
