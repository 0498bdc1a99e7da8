package allowance_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/allowance"
	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// january is a period of the tests.
var january = allowance.Request{
	Counter: allowance.Counter{1}, Subject: "k", Policy: "monthly", Limit: 100,
	Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), End: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).UnixNano(),
}

// with returns january's request of an operation.
func with(op allowance.Op, need, total, want, epoch int64) allowance.Request {
	r := january
	r.Op, r.Need, r.Total, r.Want, r.Epoch = op, need, total, want, epoch
	return r
}

func TestTable_Apply(t *testing.T) {
	table := allowance.NewTable(testkit.Database(t))
	for _, step := range []struct {
		name    string
		request allowance.Request
		want    allowance.Reply
	}{
		{"read_before_the_first", with(allowance.Read, 0, 0, 0, 0), allowance.Reply{Granted: 0, Used: 0, Epoch: 1}},
		{"above_the_limit", with(allowance.Take, 101, 101, 101, 0), allowance.Reply{Granted: 0, Used: 0, Epoch: 1}},
		{"first_lease_is_an_eighth", with(allowance.Take, 1, 1, 50, 0), allowance.Reply{Granted: 12, Used: 12, Epoch: 1}},
		{"all_that_is_asked", with(allowance.Take, 1, 60, 60, 0), allowance.Reply{Granted: 60, Used: 72, Epoch: 1}},
		{"need_above_the_rest", with(allowance.Take, 29, 29, 29, 0), allowance.Reply{Granted: 0, Used: 72, Epoch: 1}},
		{"the_rest_of_what_is_asked", with(allowance.Take, 5, 50, 50, 0), allowance.Reply{Granted: 28, Used: 100, Epoch: 1}},
		{"return", with(allowance.Return, 0, 30, 0, 1), allowance.Reply{Granted: 30, Used: 70, Epoch: 1}},
		{"return_of_another_epoch", with(allowance.Return, 0, 30, 0, 2), allowance.Reply{Granted: 0, Used: 70, Epoch: 1}},
		{"return_of_too_much", with(allowance.Return, 0, 71, 0, 1), allowance.Reply{Granted: 0, Used: 70, Epoch: 1}},
		{"debt_above_the_limit", with(allowance.Charge, 0, 40, 0, 0), allowance.Reply{Granted: 40, Used: 110, Epoch: 1}},
		{"nothing_left", with(allowance.Take, 1, 1, 1, 0), allowance.Reply{Granted: 0, Used: 110, Epoch: 1}},
		{"read", with(allowance.Read, 0, 0, 0, 0), allowance.Reply{Granted: 0, Used: 110, Epoch: 1}},
	} {
		replies, err := table.Apply(t.Context(), []allowance.Request{step.request})
		if err != nil {
			t.Fatal(step.name, err)
		}
		if replies[0] != step.want {
			t.Errorf("%s: %+v, want %+v", step.name, replies[0], step.want)
		}
	}
	epochs, err := table.Reset(t.Context(), []allowance.Counter{{2}, january.Counter}, []int64{january.Start, january.Start})
	if err != nil || epochs[0] != 0 || epochs[1] != 2 {
		t.Errorf("Reset = %v, %v, want 0 and 2", epochs, err)
	}
	replies, err := table.Apply(t.Context(), []allowance.Request{with(allowance.Return, 0, 10, 0, 1), with(allowance.Take, 1, 7, 1, 0)})
	if want := (allowance.Reply{Granted: 7, Used: 7, Epoch: 2}); err != nil || replies[0].Granted != 0 || replies[1] != want {
		t.Errorf("after the reset: %+v, %v, want %+v", replies, err, want)
	}
}

func TestTable_Apply_first_debt(t *testing.T) {
	table := allowance.NewTable(testkit.Database(t))
	replies, err := table.Apply(t.Context(), []allowance.Request{with(allowance.Charge, 0, 7, 0, 0), with(allowance.Take, 1, 3, 3, 0)})
	if want := (allowance.Reply{Granted: 3, Used: 10, Epoch: 1}); err != nil || replies[0].Granted != 7 || replies[1] != want {
		t.Errorf("replies = %+v, %v, want %+v", replies, err, want)
	}
}

// contend lets 8 callers lease, in batches over three counters in random order,
// until nothing is left, and returns the units granted of each counter.
func contend(t *testing.T, db *pgxpool.Pool) (granted [3]int64) {
	table := allowance.NewTable(db)
	var totals [3]atomic.Int64
	var callers sync.WaitGroup
	for seed := range 8 {
		callers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 0))
			for range 40 {
				var batch []allowance.Request
				for _, i := range rng.Perm(3) {
					r := with(allowance.Take, 1, 1+rng.Int64N(5), 3, 0)
					r.Counter[1] = byte(i)
					batch = append(batch, r)
				}
				replies, err := table.Apply(context.WithoutCancel(t.Context()), batch)
				if err != nil {
					t.Error(err) // a deadlock, for instance
					return
				}
				for i, r := range batch {
					totals[r.Counter[1]].Add(replies[i].Granted)
				}
			}
		})
	}
	callers.Wait()
	for i := range granted {
		granted[i] = totals[i].Load()
	}
	return granted
}

func TestTable_Apply_contention(t *testing.T) {
	if granted := contend(t, testkit.Database(t)); granted != [3]int64{100, 100, 100} {
		t.Errorf("granted %v, want exactly the limit of each counter, 100", granted)
	}
}

// breakFunction returns the source of lease_allowances with a fault, or as it is
// for the faults of other parts.
func breakFunction(source, broken string) string {
	const rows = `WHERE a.counter = r.counter AND a.period_start = r.starts_at AND `
	switch broken {
	case "guard in a subquery":
		source = strings.Replace(source, rows+`a.used + r.need <= r.most`, rows+`EXISTS ( -- others come in between
			SELECT FROM allowances g, LATERAL (SELECT pg_sleep(0.02) WHERE g.used > 0) slow WHERE g.counter = r.counter AND g.period_start = r.starts_at AND g.used + r.need <= r.most)`, 1)
		return strings.ReplaceAll(source, "least(r.most - a.used, greatest(r.total", "greatest(0, greatest(r.total")
	case "lease returned twice":
		return strings.Replace(source, "SET used = a.used - r.total", "SET used = greatest(0, a.used - 2 * r.total)", 1)
	default:
		return source
	}
}

// TestTable_Apply_contention_catches checks that the test above notices a guard
// in a subquery, which isn't evaluated again after a wait for a row's lock.
func TestTable_Apply_contention_catches(t *testing.T) {
	db := testkit.Database(t)
	var source string
	if err := db.QueryRow(t.Context(), `SELECT pg_get_functiondef('lease_allowances'::regproc)`).Scan(&source); err != nil {
		t.Fatal(err)
	}
	broken := breakFunction(source, "guard in a subquery")
	if broken == source {
		t.Fatal("the function has no such guard")
	}
	if _, err := db.Exec(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for _, units := range contend(t, db) {
			if units > 100 {
				return
			}
		}
		if _, err := db.Exec(t.Context(), `DELETE FROM allowances`); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("not noticed")
}

func TestTable_Prune(t *testing.T) {
	db := testkit.Database(t)
	table := allowance.NewTable(db)
	old, recent := with(allowance.Take, 1, 1, 1, 0), with(allowance.Take, 1, 1, 1, 0)
	recent.Counter, recent.End = allowance.Counter{2}, time.Now().Add(-time.Hour).UnixNano()
	if _, err := table.Apply(t.Context(), []allowance.Request{old, recent}); err != nil {
		t.Fatal(err)
	}
	if more, err := table.Prune(t.Context()); more || err != nil {
		t.Errorf("Prune = %v, %v", more, err)
	}
	var left []byte
	if err := db.QueryRow(t.Context(), `SELECT string_agg(counter, '') FROM allowances`).Scan(&left); err != nil || left[0] != 2 || len(left) != 24 {
		t.Errorf("left: %x, %v, want the counter of the recent period", left, err)
	}
}

// TestTable_Apply_isolation checks that instances wait for each other also in a
// database whose transactions are serializable by default.
func TestTable_Apply_isolation(t *testing.T) {
	url := testkit.DatabaseURL(t)
	first, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := first.Exec(t.Context(), `DO $$ BEGIN
		EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), url, postgres.WithMaxConns(8))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if granted := contend(t, db); granted != [3]int64{100, 100, 100} {
		t.Errorf("granted %v, want exactly the limit of each counter, 100", granted)
	}
}

// TestTable_Reset_order checks that resets and leases of the same counters can't
// wait for each other: all lock them in the same order.
func TestTable_Reset_order(t *testing.T) {
	db := testkit.Database(t)
	table := allowance.NewTable(db)
	var batch []allowance.Request
	var counters []allowance.Counter
	var starts []int64
	for i := range 16 {
		r := with(allowance.Take, 1, 1, 1, 0)
		r.Counter[1], r.Limit = byte(i), 1_000_000
		batch, counters, starts = append(batch, r), append(counters, r.Counter), append(starts, r.Start)
	}
	slices.Reverse(counters)
	ctx := context.WithoutCancel(t.Context())
	if _, err := table.Apply(ctx, batch); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 200 {
				if _, err := table.Apply(ctx, batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
		callers.Go(func() {
			for range 200 {
				epochs, err := table.Reset(ctx, counters, starts)
				if err != nil || slices.Contains(epochs, 0) {
					t.Errorf("Reset = %v, %v", epochs, err)
					return
				}
			}
		})
	}
	callers.Wait()
}
