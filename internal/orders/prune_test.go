package orders

import (
	"context"
	"testing"

	"ratelimiter/internal/testkit"
)

func TestStore_PruneIdempotencyKeys(t *testing.T) {
	db := testkit.Database(t)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`
		INSERT INTO idempotency_keys (owner, key, body_hash, refusal, request_id, created_at)
		SELECT 'o', n::text, sha256(''), '{}', 'r', now() - $1::interval + make_interval(secs => CASE WHEN n <= 1005 THEN -1 ELSE 60 END)
		FROM generate_series(1, 1010) n`, IdempotencyRetention)
	held, err := db.Begin(t.Context()) // a request reuses an expired key
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.Background()) }()
	if _, err := held.Exec(t.Context(), `UPDATE idempotency_keys SET created_at = now() WHERE key = '7'`); err != nil {
		t.Fatal(err)
	}
	store := NewStore(db, nil, nil)
	for _, want := range []bool{true, false, false} {
		if more, err := store.PruneIdempotencyKeys(t.Context()); more != want || err != nil {
			t.Fatalf("PruneIdempotencyKeys = %v, %v; want %v", more, err, want)
		}
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM idempotency_keys`).Scan(&left); err != nil || left != 6 {
		t.Fatalf("got %d keys left, error %v; want the 5 newer ones and the reused one", left, err)
	}
}
