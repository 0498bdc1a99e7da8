package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// verbose logs to standard error while a test is being written.
func verbose() *slog.Logger {
	if os.Getenv("QUEUE_LOG") == "" {
		return quiet()
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newQueue returns a queue in a database of its own.
func newQueue(t *testing.T, routes queue.Routes) (*queue.Queue, *pgxpool.Pool) {
	t.Helper()
	db := testkit.Database(t)
	q, err := queue.New(db, routes, verbose())
	if err != nil {
		t.Fatal(err)
	}
	return q, db
}

// startWorker starts a worker that stops at the end of the test.
func startWorker(t *testing.T, q *queue.Queue, handlers queue.Handlers, cfg queue.Config) *queue.Worker {
	t.Helper()
	w, err := queue.NewWorker(q, handlers, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopWorker(t, w) })
	return w
}

func stopWorker(t *testing.T, w *queue.Worker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// publish publishes messages in one transaction.
func publish(t *testing.T, q *queue.Queue, db *pgxpool.Pool, messages ...*queue.Message) {
	t.Helper()
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error { return q.Publish(t.Context(), tx, messages...) }); err != nil {
		t.Fatal(err)
	}
}

// fast is a policy with short delays.
func fast(attempts int) queue.RetryPolicy {
	return queue.RetryPolicy{Base: time.Millisecond, Cap: 10 * time.Millisecond, MaxAttempts: attempts}
}

// receive returns the next value, or fails the test after a minute.
func receive[T any](t *testing.T, values <-chan T) T {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came within a minute")
		panic("unreachable")
	}
}

// eventually waits until a condition is true, or fails the test after a minute.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// one returns the single value that a query selects.
func one[T any](t *testing.T, db *pgxpool.Pool, query string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// deadLetters returns all dead letters, newest first.
func deadLetters(t *testing.T, q *queue.Queue) []queue.DeadLetter {
	t.Helper()
	page, err := q.DeadLetters(t.Context(), queue.Filter{}, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	return page.Data
}

// deliveries returns a handler that sends each message to a channel, and then
// returns what fn does.
func deliveries(fn func(m *queue.Message) (queue.Effect, error)) (queue.Handler, <-chan *queue.Message) {
	received := make(chan *queue.Message, 1000)
	return func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		received <- m
		return fn(m)
	}, received
}

func done(*queue.Message) (queue.Effect, error) { return nil, nil }

func TestQueue_Publish_fans_out(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock", "payment"}, "confirmed": {"email"}})
	stock, toStock := deliveries(done)
	payment, toPayment := deliveries(done)
	email, toEmail := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": stock}, "payment": {"placed": payment}, "email": {"confirmed": email}}, queue.Config{})

	errUndone := errors.New("undone")
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
		if err := q.Publish(t.Context(), tx, &queue.Message{Topic: "placed", Key: "rolled back"}); err != nil {
			return err
		}
		return errUndone
	}); !errors.Is(err, errUndone) {
		t.Fatal(err)
	}
	sent := &queue.Message{Topic: "placed", Key: "o1", Owner: "me", Version: 3, Payload: json.RawMessage(`{"n": 7}`), Traceparent: "00-aa-bb-01"}
	publish(t, q, db, sent)
	for _, received := range []<-chan *queue.Message{toStock, toPayment} {
		m := receive(t, received)
		var payload struct{ N int }
		if err := m.Decode(&payload); err != nil || payload.N != 7 {
			t.Errorf("payload %+v, error %v", payload, err)
		}
		if m.ID != sent.ID || m.ID == "" || m.Topic != "placed" || m.Key != "o1" || m.Owner != "me" || m.Version != 3 ||
			m.Traceparent != "00-aa-bb-01" || m.Attempt != 1 || len(m.History) != 0 || !m.PublishedAt.Equal(sent.PublishedAt) {
			t.Errorf("got %+v, want %+v", m, sent)
		}
	}
	eventually(t, "all jobs are completed", func() bool {
		return one[int](t, db, `SELECT count(*) FROM river_job WHERE state <> 'completed'`) == 0
	})
	if len(toEmail)+len(toStock)+len(toPayment) != 0 {
		t.Error("more messages were delivered than published")
	}
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
		return q.Publish(t.Context(), tx, &queue.Message{Topic: "nobody's"})
	}); err == nil {
		t.Error("published to a topic without groups")
	}
}

// The effect, the inbox row, the completion and a follow-up message are one
// transaction: after a failed effect there is none of them.
func TestWorker_effect_is_one_transaction(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}, "reserved": {"payment"}})
	if _, err := db.Exec(t.Context(), `CREATE TABLE effects (message text, attempt int)`); err != nil {
		t.Fatal(err)
	}
	stock := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		return func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO effects VALUES ($1, $2)`, m.ID, m.Attempt); err != nil {
				return err
			}
			if err := q.Publish(ctx, tx, &queue.Message{Topic: "reserved", Key: strconv.Itoa(m.Attempt)}); err != nil {
				return err
			}
			if m.Attempt < 3 {
				return errors.New("not yet")
			}
			return nil
		}, nil
	}
	payment, paid := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": stock}, "payment": {"reserved": payment}}, queue.Config{Retry: fast(5)})
	m := &queue.Message{Topic: "placed"}
	publish(t, q, db, m)
	if next := receive(t, paid); next.Key != "3" {
		t.Errorf("a follow-up of attempt %s was delivered", next.Key)
	}
	eventually(t, "all jobs are completed", func() bool {
		return one[int](t, db, `SELECT count(*) FROM river_job WHERE state <> 'completed'`) == 0
	})
	if n := one[int](t, db, `SELECT count(*) FROM effects WHERE attempt = 3`); n != 1 || one[int](t, db, `SELECT count(*) FROM effects`) != 1 {
		t.Errorf("%d effects of the third attempt, want that alone", n)
	}
	if n := one[int](t, db, `SELECT count(*) FROM queue_inbox WHERE message = $1 AND "group" = 'stock'`, m.ID); n != 1 {
		t.Errorf("%d rows in the inbox", n)
	}
	if len(paid) != 0 {
		t.Error("more than one follow-up was delivered")
	}
}

// A message that is published again has one effect, and isn't retried.
func TestWorker_skips_what_is_done(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	if _, err := db.Exec(t.Context(), `CREATE TABLE effects (message text)`); err != nil {
		t.Fatal(err)
	}
	effect := func(m *queue.Message) (queue.Effect, error) {
		if m.Key == "fails" {
			return nil, queue.Permanent(errors.New("it fails"))
		}
		return func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO effects VALUES ($1)`, m.ID)
			return err
		}, nil
	}
	stock, received := deliveries(effect)
	startWorker(t, q, queue.Handlers{"stock": {"placed": stock}}, queue.Config{})
	for published, key := range []string{"first", "again", "fails"} {
		publish(t, q, db, &queue.Message{ID: "msg_1", Topic: "placed", Key: key})
		receive(t, received)
		eventually(t, "the job is completed", func() bool {
			return one[int](t, db, `SELECT count(*) FROM river_job WHERE state = 'completed'`) == published+1
		})
	}
	if n := one[int](t, db, `SELECT count(*) FROM effects`); n != 1 {
		t.Errorf("%d effects", n)
	}
	if n := len(deadLetters(t, q)); n != 0 {
		t.Errorf("%d dead letters of a message that is done", n)
	}
}

// A new job is due at the database's time.
func TestQueue_Publish_time(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error {
		if err := q.Publish(t.Context(), tx, &queue.Message{Topic: "placed"}); err != nil {
			return err
		}
		var same bool
		if err := tx.QueryRow(t.Context(), `SELECT scheduled_at = now() AND state = 'available' FROM river_job`).Scan(&same); err != nil || same {
			return err
		}
		return errors.New("the job isn't due at the time of its transaction")
	}); err != nil {
		t.Error(err)
	}
}

func TestNewWorker_rejects(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler, _ := deliveries(done)
	for name, handlers := range map[string]queue.Handlers{
		"topic without a route": {"stock": {"paid": handler}},
		"group without a route": {"email": {"placed": handler}},
	} {
		if _, err := queue.NewWorker(q, handlers, queue.Config{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, policy := range []queue.RetryPolicy{{Base: time.Second}, {Base: time.Second, Cap: time.Millisecond, MaxAttempts: 1}, {Base: 1, Cap: 1, MaxAttempts: 1001}} {
		if _, err := queue.NewWorker(q, nil, queue.Config{Retry: policy}); err == nil {
			t.Errorf("%+v: no error", policy)
		}
	}
	w, err := queue.NewWorker(q, nil, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Errorf("start without handlers: %v", err)
	}
	stopWorker(t, w)
}
