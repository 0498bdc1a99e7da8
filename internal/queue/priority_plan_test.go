package queue_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
)

// The priority of a new message is found by an index, whatever the size of the
// table was when the plan was made.
func TestPriority_plan(t *testing.T) {
	db := testkit.Database(t)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	for _, sql := range []string{
		`SET LOCAL enable_seqscan = off`, `SET LOCAL enable_bitmapscan = off`,
		`INSERT INTO river_job (state, queue, kind, args, max_attempts, priority)
			SELECT 'available', 'q', 'k', jsonb_build_object('owner', 'o' || n % 10), 1, 1 FROM generate_series(1, 5000) n`,
		`DELETE FROM river_job`, `ANALYZE river_job`, // as if it had always been empty
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(sql, err)
		}
		rows, _ := tx.Query(t.Context(), `EXPLAIN SELECT FROM river_job WHERE args ->> 'owner' = 'o1' AND (state = 'available') IS TRUE LIMIT 100`)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if plan := strings.Join(lines, "\n"); strings.Contains(sql, "bitmapscan") || strings.HasPrefix(sql, "INSERT") || strings.HasPrefix(sql, "ANALYZE") {
			if !strings.Contains(plan, "river_job_owner") || !strings.Contains(plan, "Index Cond") {
				t.Errorf("after %s: got the plan\n%s", sql, plan)
			}
		}
	}
}
