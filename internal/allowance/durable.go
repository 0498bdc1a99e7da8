package allowance

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/ratelimit"
)

// Counter identifies a durable counter: the hash of its subject and the id of
// its policy.
type Counter [24]byte

func counterOf(s *ratelimit.Subject, p *ratelimit.Compiled) (c Counter) {
	binary.BigEndian.PutUint64(c[0:], s.Hash[0])
	binary.BigEndian.PutUint64(c[8:], s.Hash[1])
	binary.BigEndian.PutUint64(c[16:], p.ID())
	return c
}

// Op is what a Request does.
type Op int16

// The operations. Their numbers are those of the database's function.
const (
	Read   Op = iota // reads Used
	Take             // leases Total units or more, if Need units are left below Limit
	Charge           // adds Total units that are spent already, as debt
	Return           // gives back Total units of the epoch
)

// Request is one operation on one period of a durable counter. Units are those
// of the policy.
type Request struct {
	Op              Op
	Counter         Counter
	Start, End      int64  // of the period, in nanoseconds since the Unix epoch
	Subject, Policy string // for people who read the table
	Need            int64  // the least that helps
	Total           int64  // all that is asked
	Want            int64  // with what is leased ahead
	Limit           int64
	Epoch           int64
}

// Reply is the result of a Request.
type Reply struct {
	Granted int64 // units leased, charged or returned; 0: none
	Used    int64 // units of the period that are spent or leased now
	Epoch   int64 // number of resets so far, plus one
}

// Durable holds the durable counters. It is safe for concurrent use.
type Durable interface {
	// Apply performs the requests, each atomically, and returns a reply each.
	// After an error it is unknown which requests took effect.
	Apply(ctx context.Context, requests []Request) ([]Reply, error)
	// Reset makes the counters' periods fresh, begins their next epoch, and
	// returns the new epochs; 0 for a counter that has nothing to reset.
	Reset(ctx context.Context, counters []Counter, starts []int64) ([]int64, error)
}

// Table is the Durable in Postgres.
type Table struct{ db *pgxpool.Pool }

// NewTable returns a Table on db.
func NewTable(db *pgxpool.Pool) *Table { return &Table{db: db} }

// Apply implements Durable, in one statement.
func (t *Table) Apply(ctx context.Context, requests []Request) ([]Reply, error) {
	var (
		ops                                  []int16
		counters                             [][]byte
		starts, ends                         []time.Time
		subjects, policies                   []string
		needs, totals, wants, limits, epochs []int64
	)
	for _, r := range requests {
		ops, counters = append(ops, int16(r.Op)), append(counters, r.Counter[:])
		starts, ends = append(starts, time.Unix(0, r.Start)), append(ends, time.Unix(0, r.End))
		subjects, policies = append(subjects, r.Subject), append(policies, r.Policy)
		needs, totals, wants = append(needs, r.Need), append(totals, r.Total), append(wants, r.Want)
		limits, epochs = append(limits, r.Limit), append(epochs, r.Epoch)
	}
	rows, err := t.db.Query(ctx, `
		SELECT n, granted, used, epoch FROM lease_allowances($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		ops, counters, starts, ends, subjects, policies, needs, totals, wants, limits, epochs)
	if err != nil {
		return nil, fmt.Errorf("lease allowances: %w", err)
	}
	replies := make([]Reply, len(requests))
	var n int64
	var r Reply
	_, err = pgx.ForEachRow(rows, []any{&n, &r.Granted, &r.Used, &r.Epoch}, func() error {
		replies[n-1] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lease allowances: %w", err)
	}
	return replies, nil
}

// Reset implements Durable. It locks rows in the order in which Apply does, so
// that they can't deadlock.
func (t *Table) Reset(ctx context.Context, counters []Counter, starts []int64) ([]int64, error) {
	var ids [][]byte
	var times []time.Time
	for i := range counters {
		ids, times = append(ids, counters[i][:]), append(times, time.Unix(0, starts[i]))
	}
	rows, err := t.db.Query(ctx, `
		WITH asked AS (SELECT * FROM unnest($1::bytea[], $2::timestamptz[]) WITH ORDINALITY AS q (counter, period_start, n)),
		locked AS (SELECT counter, period_start, n FROM allowances JOIN asked USING (counter, period_start)
			ORDER BY counter, period_start FOR UPDATE OF allowances),
		reset AS (
			UPDATE allowances a SET used = 0, epoch = a.epoch + 1 FROM locked
			WHERE a.counter = locked.counter AND a.period_start = locked.period_start
			RETURNING locked.n, a.epoch)
		SELECT coalesce(reset.epoch, 0) FROM asked LEFT JOIN reset USING (n) ORDER BY n`, ids, times)
	if err != nil {
		return nil, fmt.Errorf("reset allowances: %w", err)
	}
	epochs, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("reset allowances: %w", err)
	}
	return epochs, nil
}

// retention is how long the counters of a period that has ended are kept, for
// people who ask what was spent.
const retention = "35 days"

// PruneInterval is a suitable interval between calls of Prune.
const PruneInterval = time.Hour

// pruneBatch bounds the rows that one Prune deletes.
const pruneBatch = 10_000

// Prune deletes counters whose period ended long ago, by the database's clock.
// It reports whether there may be more.
func (t *Table) Prune(ctx context.Context) (more bool, err error) {
	tag, err := t.db.Exec(ctx, `
		DELETE FROM allowances WHERE (counter, period_start) IN (
			SELECT counter, period_start FROM allowances WHERE period_end < now() - $1::interval LIMIT $2)`, retention, pruneBatch)
	if err != nil {
		return false, fmt.Errorf("delete ended allowances: %w", err)
	}
	return tag.RowsAffected() == pruneBatch, nil
}
