package queue_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

func TestQueue_Pause(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock", "payment"}})
	other, err := queue.New(db, queue.Routes{"placed": {"stock", "payment"}}, verbose())
	if err != nil {
		t.Fatal(err)
	}
	var began, paid atomic.Int64
	stock := func(context.Context, *queue.Message) (queue.Effect, error) { began.Add(1); return nil, nil }
	payment := func(context.Context, *queue.Message) (queue.Effect, error) { paid.Add(1); return nil, nil }
	handlers := queue.Handlers{"stock": {"placed": stock}, "payment": {"placed": payment}}
	// Deliveries that had started when Pause returned, and whose handlers hadn't
	// been called yet.
	const starting = 4
	startWorker(t, q, handlers, queue.Config{Concurrency: starting})
	ctx, stopPublishing := context.WithCancel(t.Context())
	published := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_ = postgres.InTx(t.Context(), db, func(tx pgx.Tx) error { return q.Publish(t.Context(), tx, &queue.Message{Topic: "placed"}) })
		}
		published <- n
	}()
	eventually(t, "deliveries begin", func() bool { return began.Load() > 100 })

	errRefused := errors.New("no audit")
	refuse := func(context.Context, pgx.Tx) error { return errRefused }
	if err := q.Pause(t.Context(), "stock", refuse); !errors.Is(err, errRefused) {
		t.Errorf("error %v, want that of the record", err)
	}
	before := began.Load()
	eventually(t, "a pause that wasn't recorded doesn't happen", func() bool { return began.Load() > before+100 })

	if err := q.Pause(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	before = began.Load()
	paidBefore := paid.Load()
	eventually(t, "the other group goes on", func() bool { return paid.Load() > paidBefore+300 })
	if n := began.Load() - before; n > starting {
		t.Errorf("%d deliveries of the paused group", n)
	}
	stats := statsOf(t, q, "stock")
	if !stats.Paused || stats.Ready == 0 || stats.OldestAge == 0 {
		t.Errorf("stats %+v", stats)
	}

	// An instance that starts later, or hears of it from the table, is paused too.
	startWorker(t, other, handlers, queue.Config{})
	paidBefore = paid.Load()
	eventually(t, "the other group goes on", func() bool { return paid.Load() > paidBefore+100 })
	if n := began.Load() - before; n > starting {
		t.Errorf("%d deliveries of the paused group on another instance", n)
	}
	stopPublishing()
	total := int64(receive(t, published))
	if err := other.Resume(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are delivered", func() bool { return began.Load() == total && paid.Load() == total })
	// A group that isn't routed to any more can be paused while it has messages.
	publish(t, q, db, &queue.Message{Topic: "placed", ID: "left"})
	if _, err := db.Exec(t.Context(), `UPDATE river_job SET queue = 'former', state = 'available', finalized_at = NULL WHERE id = (SELECT max(id) FROM river_job)`); err != nil {
		t.Fatal(err)
	}
	recorded := 0
	record := func(context.Context, pgx.Tx) error { recorded++; return nil }
	for range 2 {
		if err := q.Pause(t.Context(), "former", record); err != nil {
			t.Error(err)
		}
	}
	if stats := statsOf(t, q, "former"); !stats.Paused || recorded != 1 {
		t.Errorf("stats %+v, %d records of two pauses; want 1", stats, recorded)
	}
	if err := q.Pause(t.Context(), "nobody's", nil); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("pause of an unknown group: %v", err)
	}
}

// statsOf returns the numbers of a group.
func statsOf(t *testing.T, q *queue.Queue, group string) queue.GroupStats {
	t.Helper()
	all, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Group == group {
			return s
		}
	}
	t.Fatalf("no numbers of %s in %+v", group, all)
	return queue.GroupStats{}
}

// A pause reaches another instance within a second: through the table alone.
func TestQueue_Pause_elsewhere(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	other, err := queue.New(db, queue.Routes{"placed": {"stock"}}, verbose())
	if err != nil {
		t.Fatal(err)
	}
	handler, received := deliveries(done)
	startWorker(t, other, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	receive(t, received)
	if _, err := db.Exec(t.Context(), `INSERT INTO queue_pauses VALUES ('stock')`); err != nil { // without River
		t.Fatal(err)
	}
	eventually(t, "the gate is closed", func() bool {
		publish(t, q, db, &queue.Message{Topic: "placed"})
		return one[int](t, db, `SELECT count(*) FROM river_job WHERE metadata ? 'snoozes'`) > 0
	})
	for len(received) > 0 {
		<-received
	}
	if err := q.Resume(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, received); m.Attempt != 1 {
		t.Errorf("attempt %d after the pause", m.Attempt)
	}
}

// River doesn't fetch the jobs of a group that was paused before any instance worked
// on it.
func TestQueue_Pause_before_the_start(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	if err := q.Pause(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	handler, received := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	if !one[bool](t, db, `SELECT paused_at IS NOT NULL FROM river_queue WHERE name = 'stock'`) {
		t.Error("River fetches the jobs of the paused group")
	}
	publish(t, q, db, &queue.Message{Topic: "placed"})
	if err := q.Resume(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, received); m.Attempt != 1 {
		t.Errorf("attempt %d after the pause", m.Attempt)
	}
}

func TestQueue_Stats(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock", "payment"}})
	hold := make(chan struct{})
	began := make(chan struct{}, 10)
	stock := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		switch m.Key {
		case "held":
			began <- struct{}{}
			<-hold
		case "dead":
			return nil, queue.Permanent(errors.New("dead"))
		case "delayed":
			return nil, queue.Postpone(time.Hour, errors.New("later"))
		case "soon": // before River's scheduler runs again
			return nil, queue.Postpone(4*time.Second, errors.New("soon"))
		}
		return nil, nil
	}
	startWorker(t, q, queue.Handlers{"stock": {"placed": stock}}, queue.Config{})
	for _, key := range []string{"held", "dead", "delayed", "soon", "done"} {
		publish(t, q, db, &queue.Message{Topic: "placed", Key: key})
	}
	receive(t, began)
	eventually(t, "the numbers are right", func() bool {
		s, p := statsOf(t, q, "stock"), statsOf(t, q, "payment")
		p.OldestAge = 0
		return s == queue.GroupStats{Group: "stock", Delayed: 2, InFlight: 1, Dead: 1} && p == queue.GroupStats{Group: "payment", Ready: 5}
	})
	close(hold)
}

// maxWaiting is the number of an owner's waiting jobs from which its new messages
// have the low priority.
const maxWaiting = 100

// An owner with 10,000 waiting messages delays those of others by no more than
// what is being delivered.
func TestQueue_priority_by_owner(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	flood := make([]*queue.Message, 10_000)
	for i := range flood {
		flood[i] = &queue.Message{Topic: "placed", Owner: "flood"}
	}
	publish(t, q, db, flood...)
	publish(t, q, db, &queue.Message{Topic: "placed", Owner: "flood"})
	publish(t, q, db, &queue.Message{Topic: "placed", Owner: "other"}, &queue.Message{Topic: "placed"})
	if n := one[int](t, db, `SELECT count(*) FROM river_job WHERE priority = 4`); n != 10_001-maxWaiting {
		t.Errorf("%d jobs with the low priority", n)
	}
	var before atomic.Int64
	others := make(chan int64, 2)
	handler := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		if m.Owner == "flood" {
			before.Add(1)
		} else {
			others <- before.Load()
		}
		return nil, nil
	}
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	for range 2 {
		if n := receive(t, others); n > maxWaiting+20 { // and what is fetched at once
			t.Errorf("another owner's message came after %d of the flood", n)
		}
	}
}

// Publishing reads the jobs of one owner, not all that wait, even if its first
// messages found an empty table.
func TestQueue_Publish_reads_little(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	const messages = 500
	for n := range messages {
		publish(t, q, db, &queue.Message{Topic: "placed", Owner: strconv.Itoa(n)})
	}
	db.Reset() // connections report what they have read at their end
	eventually(t, "the index of owners is used", func() bool {
		return one[int](t, db, `SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'river_job_owner'`) >= messages*9/10
	})
	if n := one[int](t, db, `SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'river_job'`); n > 10*messages {
		t.Errorf("%d jobs were read for %d messages", n, messages)
	}
}

func TestQueue_Prune(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	if _, err := db.Exec(t.Context(), `INSERT INTO queue_inbox SELECT n::text, 'stock', now() - n * interval '1 hour' FROM generate_series(71, 74) n`); err != nil {
		t.Fatal(err)
	}
	if more, err := q.Prune(t.Context()); more || err != nil {
		t.Errorf("more %v, error %v", more, err)
	}
	if n := one[int](t, db, `SELECT count(*) FROM queue_inbox WHERE message IN ('71', '72')`); n != 1 || one[int](t, db, `SELECT count(*) FROM queue_inbox`) != 1 {
		t.Errorf("%d of the young rows are left, want one row, 71", n)
	}
}

// Through PgBouncer in transaction mode, with a direct connection for LISTEN and
// without one.
func TestWorker_through_a_pooler(t *testing.T) {
	t.Parallel()
	for name, direct := range map[string]bool{"with a direct connection": true, "poll only": false} {
		t.Run(name, func(t *testing.T) {
			url := testkit.DatabaseURL(t)
			pooled, err := postgres.Open(t.Context(), testkit.NewPgBouncer(t, url))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pooled.Close)
			listen := pooled
			if direct {
				if listen, err = postgres.Open(t.Context(), url, postgres.WithMaxConns(1), postgres.WithApplicationName("direct")); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(listen.Close)
			}
			q, err := queue.New(pooled, queue.Routes{"placed": {"stock"}}, verbose())
			if err != nil {
				t.Fatal(err)
			}
			handler, received := deliveries(func(m *queue.Message) (queue.Effect, error) {
				if m.Attempt == 1 {
					return nil, errors.New("once more")
				}
				return func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `SELECT 1`); return err }, nil
			})
			startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(3), Listen: listen})
			publish(t, q, pooled, &queue.Message{Topic: "placed"})
			receive(t, received)
			receive(t, received)
			eventually(t, "it is done", func() bool { return one[int](t, pooled, `SELECT count(*) FROM queue_inbox`) == 1 })
			listening := one[int](t, pooled, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'direct' AND query LIKE 'LISTEN%'`)
			if (listening == 1) != direct {
				t.Errorf("%d direct connections listen", listening)
			}
		})
	}
}
