package audit_test

import (
	"testing"
	"time"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/testkit"
)

func TestOldEntriesAreRemovedInBatches(t *testing.T) {
	db := testkit.Database(t)
	now := time.Now()
	if _, err := db.Exec(t.Context(), `
		INSERT INTO audit_log (at, actor, action, target)
		SELECT $1::timestamptz - make_interval(secs => CASE WHEN n <= 1005 THEN 1 ELSE -60 END), 'cli', 'key.create', n::text
		FROM generate_series(1, 1010) n`, now.Add(-audit.Life)); err != nil {
		t.Fatal(err)
	}
	log := audit.New(db)
	for _, want := range []int64{1000, 5, 0} {
		if removed, err := log.Prune(t.Context(), now); removed != want || err != nil {
			t.Fatalf("removed %d, %v; want %d", removed, err, want)
		}
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM audit_log`).Scan(&left); err != nil || left != 5 {
		t.Fatalf("%d are left, %v; want the 5 that are younger", left, err)
	}
}
