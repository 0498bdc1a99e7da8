package shop

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/testkit"
)

func TestKeepRemovesEveryMinuteUntilItIsToldToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		answers := []struct {
			removed int64
			err     error
		}{{pruneBatch, nil}, {pruneBatch, nil}, {3, nil}, {0, errors.New("no connection")}, {0, nil}}
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			keep(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) (int64, error) {
				next := answers[len(at)]
				at = append(at, time.Since(began))
				if len(at) == len(answers) {
					cancel()
				}
				return next.removed, next.err
			})
		}()
		<-done
		want := []time.Duration{0, 0, 0, time.Minute, 2 * time.Minute}
		if len(at) != len(want) {
			t.Fatalf("it removed at %v; want %v", at, want)
		}
		for i := range want {
			if at[i] != want[i] {
				t.Fatalf("it removed at %v; want %v", at, want)
			}
		}
		if strings.Count(log.String(), "no connection") != 1 {
			t.Errorf("the log says %q", log.String())
		}
	})
}

func TestOldIdempotencyKeysAreRemovedInBatches(t *testing.T) {
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
		FROM generate_series(1, 1010) n`, IdempotencyLife)
	held, err := db.Begin(t.Context()) // somebody takes one anew
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.Background()) }()
	if _, err := held.Exec(t.Context(), `UPDATE idempotency_keys SET created_at = now() WHERE key = '7'`); err != nil {
		t.Fatal(err)
	}
	orders := NewOrders(db)
	for _, want := range []int64{1000, 4, 0} {
		if removed, err := orders.PruneIdempotencyKeys(t.Context()); removed != want || err != nil {
			t.Fatalf("removed %d, %v; want %d", removed, err, want)
		}
	}
	if err := held.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM idempotency_keys`).Scan(&left); err != nil || left != 6 {
		t.Fatalf("%d are left, %v; want the 5 that are younger, and the one taken anew", left, err)
	}
}
