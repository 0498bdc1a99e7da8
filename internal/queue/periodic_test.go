package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/queue"
)

// TestWorker_periodic runs work on two instances. It begins at the start, at the
// interval on one instance at a time, and some seconds after a run that isn't done.
func TestWorker_periodic(t *testing.T) {
	q, db := newQueue(t, nil)
	var running, atOnce atomic.Int32
	ran := make(chan struct{}, 1000)
	often := queue.Periodic{Name: "often", Every: 20 * time.Millisecond, Run: func(context.Context) bool {
		if running.Add(1) > 1 {
			atOnce.Add(1)
		}
		defer running.Add(-1)
		ran <- struct{}{}
		return false
	}}
	failed := make(chan struct{}, 1000)
	failing := queue.Periodic{Name: "failing", Every: 20 * time.Millisecond, Run: func(context.Context) bool {
		failed <- struct{}{}
		return true
	}}
	hourly := make(chan struct{}, 1000)
	seldom := queue.Periodic{Name: "seldom", Every: time.Hour, Run: func(ctx context.Context) bool {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a run has no deadline")
		}
		hourly <- struct{}{}
		return false
	}}
	for range 2 {
		startWorker(t, q, nil, queue.Config{Periodic: []queue.Periodic{often, failing, seldom}})
	}
	receive(t, failed)
	receive(t, hourly)
	eventually(t, "the failed job waits", func() bool { return jobsOf(t, db, "failing") == "1 scheduled, less than 10 s ahead" })
	for len(ran) > 0 {
		<-ran
	}
	for range 5 {
		receive(t, ran)
	}
	if atOnce.Load() > 0 {
		t.Errorf("%d runs of the same work overlap", atOnce.Load())
	}
	if got := jobsOf(t, db, "failing"); !strings.HasPrefix(got, "1 ") {
		t.Errorf("got jobs %s; want no other added while one waits", got)
	}
	if len(failed) > 0 || len(hourly) > 0 {
		t.Errorf("%d more runs of a job that waits, %d of an hourly one; want none", len(failed), len(hourly))
	}
}

// jobsOf describes the unfinished jobs of periodic work.
func jobsOf(t *testing.T, db *pgxpool.Pool, name string) string {
	t.Helper()
	var n int
	var state string
	var soon bool
	err := db.QueryRow(t.Context(), `SELECT count(*), coalesce(min(state::text), ''), coalesce(bool_and(scheduled_at - now() BETWEEN '0 s' AND '10 s'), false)
		FROM river_job WHERE kind = 'periodic' AND args ->> 'name' = $1 AND state <> 'completed'`, name).Scan(&n, &state, &soon)
	if err != nil {
		t.Fatal(err)
	}
	if !soon {
		return fmt.Sprintf("%d %s", n, state)
	}
	return fmt.Sprintf("%d %s, less than 10 s ahead", n, state)
}

// A leader of another release may add work that this instance doesn't know.
func TestWorker_periodic_unknown(t *testing.T) {
	q, db := newQueue(t, nil)
	ran := make(chan struct{}, 1000)
	known := queue.Periodic{Name: "known", Every: 20 * time.Millisecond, Run: func(context.Context) bool { ran <- struct{}{}; return false }}
	if _, err := db.Exec(t.Context(), `INSERT INTO river_job (kind, queue, args, max_attempts) VALUES ('periodic', 'periodic', '{"name":"new"}', 100)`); err != nil {
		t.Fatal(err)
	}
	startWorker(t, q, nil, queue.Config{Periodic: []queue.Periodic{known}})
	for {
		receive(t, ran)
		if jobsOf(t, db, "new") == "0 " {
			return
		}
	}
}
