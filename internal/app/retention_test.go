package app

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/retention"
	"ratelimiter/internal/testkit"
)

// A machine whose clock is wrong deletes nothing: no job runs.
func TestRetention_wrong_clock(t *testing.T) {
	db := testkit.Database(t)
	for _, statement := range []string{
		`INSERT INTO usage_days SELECT 'k', date_trunc('day', now()), 'g', 1, 0, 1`,
		`INSERT INTO usage_recent SELECT 'k', date_trunc('second', now()), 'g', 1, 1, 0, 0, 0, 0, 0`,
		`INSERT INTO usage_flushes VALUES (gen_random_uuid())`,
		`INSERT INTO audit_log (actor, action, target) VALUES ('cli', 'key.create', 'k')`,
		`INSERT INTO idempotency_keys (owner, key, body_hash, refusal, request_id) VALUES ('o', 'k', sha256(''), '{}', 'r')`,
		`INSERT INTO changes (kind, id, version) VALUES ('key', 'k', 1)`,
		`INSERT INTO queue_inbox VALUES ('m', 'g')`,
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newServices(testConfig(t), db, nil, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const stored = `SELECT (SELECT count(*) FROM usage_days) + (SELECT count(*) FROM usage_recent) + (SELECT count(*) FROM usage_flushes) +
		(SELECT count(*) FROM audit_log) + (SELECT count(*) FROM idempotency_keys) + (SELECT count(*) FROM changes WHERE id = 'k') + (SELECT count(*) FROM queue_inbox)`
	for _, ahead := range []time.Duration{240 * time.Hour, -240 * time.Hour, 500 * 24 * time.Hour, -500 * 24 * time.Hour, 2200 * 24 * time.Hour, 0} {
		for _, job := range s.jobs() {
			runJob(t, s, job, ahead)
		}
		var rows int
		if err := db.QueryRow(t.Context(), stored).Scan(&rows); err != nil || rows != 7 {
			t.Errorf("ahead by %s: %d rows, error %v; want all 7", ahead, rows, err)
		}
	}
}

// runJob runs one job with a local clock that is ahead.
func runJob(t *testing.T, s *services, job retention.Job, ahead time.Duration) {
	t.Helper()
	runs := 0
	run := job.Run
	job.Run = func(ctx context.Context, now time.Time) (bool, error) {
		runs++
		_, err := run(ctx, now)
		return false, err
	}
	var log bytes.Buffer
	runner := retention.New(slog.New(slog.NewTextHandler(&log, nil)), retention.Clocks{
		Local:    func() time.Time { return time.Now().Add(ahead) },
		Database: func(ctx context.Context) (time.Time, error) { return postgres.Now(ctx, s.db) },
	})
	if runner.Run(t.Context(), job) || (runs == 1) != (ahead == 0) || strings.Contains(log.String(), "retention suspended") != (ahead != 0) {
		t.Errorf("ahead by %s: %s: %d runs, log: %s", ahead, job.Name, runs, &log)
	}
}
