package audit_test

import (
	"testing"
	"time"

	"ratelimiter/internal/audit"
	"ratelimiter/internal/testkit"
)

func TestLog_Prune(t *testing.T) {
	db := testkit.Database(t)
	now := time.Now()
	if _, err := db.Exec(t.Context(), `
		INSERT INTO audit_log (at, actor, action, target)
		SELECT $1::timestamptz - make_interval(secs => CASE WHEN n <= 1005 THEN 1 ELSE -60 END), 'cli', 'key.create', n::text
		FROM generate_series(1, 1010) n`, now.Add(-audit.Retention)); err != nil {
		t.Fatal(err)
	}
	log := audit.New(db)
	for _, want := range []bool{true, false, false} {
		if more, err := log.Prune(t.Context(), now); more != want || err != nil {
			t.Fatalf("Prune = %v, %v; want %v", more, err, want)
		}
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM audit_log`).Scan(&left); err != nil || left != 5 {
		t.Fatalf("got %d entries left, error %v; want the 5 newer ones", left, err)
	}
}
