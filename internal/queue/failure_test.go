package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/models"
)

// redrive puts back all dead letters.
func redrive(t *testing.T, q *queue.Queue, db postgres.Beginner, f queue.Filter) (n int) {
	t.Helper()
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) (err error) {
		n, err = q.RedriveAll(t.Context(), tx, f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWorker_retries_then_dead_letter(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	broken := true
	handler, received := deliveries(func(m *queue.Message) (queue.Effect, error) {
		if broken {
			return nil, fmt.Errorf("attempt %d: no answer from postgres://me:hunter2@db", m.Attempt)
		}
		return nil, nil
	})
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(3)})
	sent := &queue.Message{Topic: "placed", Key: "o1", Payload: json.RawMessage(`{"order":"o1"}`)}
	publish(t, q, db, sent)
	for attempt := 1; attempt <= 3; attempt++ {
		if m := receive(t, received); m.Attempt != attempt || len(m.History) != attempt-1 {
			t.Errorf("attempt %d with %d failures in its history, want %d", m.Attempt, len(m.History), attempt)
		}
	}
	eventually(t, "there is a dead letter", func() bool { return len(deadLetters(t, q)) == 1 })
	d := deadLetters(t, q)[0]
	if d.Attempts != 3 || d.Group != "stock" || d.Message.Topic != "placed" || d.Message.ID != sent.ID || string(d.Message.Payload) != `{"order": "o1"}` {
		t.Errorf("dead letter %+v", d)
	}
	if d.Reason != "attempt 3: no answer from postgres://***db" || len(d.Message.History) != 3 || d.Message.History[0].Error != "attempt 1: no answer from postgres://***db" {
		t.Errorf("reason %q, history %+v", d.Reason, d.Message.History)
	}

	broken = false
	if n, err := q.CountRedrivable(t.Context(), queue.Filter{Reason: "NO ANSWER"}); err != nil || n != 1 {
		t.Errorf("a dry run counts %d, error %v", n, err)
	}
	for _, filter := range []queue.Filter{{Group: "x"}, {Topic: "x"}, {Reason: "x?"}} {
		if n := redrive(t, q, db, filter); n != 0 {
			t.Errorf("%+v: redrove %d, want none", filter, n)
		}
	}
	if n := redrive(t, q, db, queue.Filter{Group: "stock", Topic: "placed", Reason: "no answer"}); n != 1 {
		t.Errorf("redrove %d, want 1", n)
	}
	if m := receive(t, received); m.Attempt != 1 || len(m.History) != 3 || m.ID != sent.ID {
		t.Errorf("redriven: attempt %d, %d failures, want attempt 1 and the history", m.Attempt, len(m.History))
	}
	if n := len(deadLetters(t, q)); n != 0 {
		t.Errorf("%d dead letters after the redrive", n)
	}
}

func TestWorker_dead_letters_at_once(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
		var v struct{ N int }
		if err := m.Decode(&v); err != nil {
			return nil, err
		}
		switch v.N {
		case 1:
			return nil, fmt.Errorf("wrapped: %w", queue.Permanent(errors.New("sold out")))
		case 2:
			return func(context.Context, pgx.Tx) error { return queue.Permanent(errors.New("in the effect")) }, nil
		}
		return nil, nil
	}
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	for _, payload := range []string{`{"n":1}`, `{"n":2}`, `{"n":"three"}`, `{"n":4}`} {
		publish(t, q, db, &queue.Message{Topic: "placed", Payload: json.RawMessage(payload)})
	}
	// A job whose arguments are no message at all.
	if _, err := db.Exec(t.Context(), `INSERT INTO river_job (args, kind, queue, max_attempts) VALUES ('[1]', 'delivery', 'stock', 32767)`); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there are four dead letters", func() bool { return len(deadLetters(t, q)) == 4 })
	var reasons []string
	for _, d := range deadLetters(t, q) {
		reason, _, _ := strings.Cut(d.Reason, " json:")
		reasons = append(reasons, fmt.Sprintf("%s after %d", reason, d.Attempts))
	}
	slices.Sort(reasons)
	want := []string{"decode the message: after 0", "decode the payload of placed, version 0: after 1", "in the effect after 1", "wrapped: sold out after 1"}
	if !slices.Equal(reasons, want) {
		t.Errorf("reasons %q, want %q", reasons, want)
	}
	if n := redrive(t, q, db, queue.Filter{}); n != 3 {
		t.Errorf("redrove %d, want those that can be decoded", n)
	}
}

func TestQueue_Redrive_and_Discard(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler, received := deliveries(func(m *queue.Message) (queue.Effect, error) {
		if len(m.History) > 0 {
			return nil, nil
		}
		return nil, queue.Permanent(errors.New("no"))
	})
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{})
	publish(t, q, db, &queue.Message{Topic: "placed", Key: "a"}, &queue.Message{Topic: "placed", Key: "b"})
	receive(t, received)
	receive(t, received)
	eventually(t, "there are two dead letters", func() bool { return len(deadLetters(t, q)) == 2 })
	first := deadLetters(t, q)[0]
	page, err := q.DeadLetters(t.Context(), queue.Filter{}, nil, 1)
	if err != nil || len(page.Data) != 1 || page.Next == nil {
		t.Fatalf("page %+v, error %v", page, err)
	}
	if page, err = q.DeadLetters(t.Context(), queue.Filter{}, page.Next, 1); err != nil || len(page.Data) != 1 || page.Next != nil || page.Data[0].ID == first.ID {
		t.Fatalf("second page %+v, error %v", page, err)
	}
	second := page.Data[0]
	in := func(fn func(pgx.Tx) error) error { return postgres.InTx(t.Context(), db, fn) }
	if err := in(func(tx pgx.Tx) error { _, err := q.Redrive(t.Context(), tx, first.ID); return err }); err != nil {
		t.Error(err)
	}
	if m := receive(t, received); m.ID != first.Message.ID || m.Attempt != 1 || len(m.History) != 1 {
		t.Errorf("redriven: %+v", m)
	}
	if err := in(func(tx pgx.Tx) error { _, err := q.Discard(t.Context(), tx, second.ID); return err }); err != nil {
		t.Error(err)
	}
	for _, id := range []string{first.ID, second.ID, "x", "99999999999999999999"} {
		err := in(func(tx pgx.Tx) error { _, err := q.Redrive(t.Context(), tx, id); return err })
		if !errors.Is(err, models.ErrNotFound) {
			t.Errorf("redrive %s: error %v", id, err)
		}
	}
	if n := len(deadLetters(t, q)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestWorker_postpones_without_an_attempt(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	calls := 0
	handler, received := deliveries(func(*queue.Message) (queue.Effect, error) {
		if calls++; calls < 4 {
			return nil, fmt.Errorf("gateway: %w", queue.Postpone(time.Millisecond, errors.New("the circuit is open")))
		}
		return nil, nil
	})
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(2)})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	for range 4 {
		if m := receive(t, received); m.Attempt != 1 || len(m.History) != 0 {
			t.Errorf("attempt %d, history %v", m.Attempt, m.History)
		}
	}
	eventually(t, "it is done", func() bool { return one[int](t, db, `SELECT count(*) FROM queue_inbox`) == 1 })
}

func TestWorker_survives_panics(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler, received := deliveries(func(m *queue.Message) (queue.Effect, error) {
		if m.Attempt == 1 {
			panic("password=hunter2")
		}
		return func(context.Context, pgx.Tx) error {
			if m.Attempt == 2 {
				panic("in the effect")
			}
			return nil
		}, nil
	})
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(3)})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	receive(t, received)
	receive(t, received)
	m := receive(t, received)
	if len(m.History) != 2 || m.History[0].Error != "panic: password=***" || m.History[1].Error != "panic: in the effect" {
		t.Errorf("history %+v", m.History)
	}
}

// A message whose topic an instance doesn't know waits for one that knows it.
func TestWorker_unknown_topic(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"old": {"stock"}, "new": {"stock"}})
	old, toOld := deliveries(done)
	older := startUnknown(t, q, queue.Handlers{"stock": {"old": old}}, time.Hour)
	publish(t, q, db, &queue.Message{Topic: "new"})
	eventually(t, "the older instance has seen it", func() bool {
		return one[int](t, db, `SELECT count(*) FROM river_job WHERE args ? 'unknown_since' AND state <> 'completed'`) == 1
	})
	publish(t, q, db, &queue.Message{Topic: "old"})
	receive(t, toOld) // it delays nobody
	fresh, toFresh := deliveries(done)
	newer := startUnknown(t, q, queue.Handlers{"stock": {"old": old, "new": fresh}}, time.Hour)
	if m := receive(t, toFresh); m.Attempt != 1 || len(m.History) != 0 {
		t.Errorf("attempt %d, history %v; want the first", m.Attempt, m.History)
	}
	stopWorker(t, newer)
	stopWorker(t, older)

	startUnknown(t, q, queue.Handlers{"stock": {"old": old}}, 50*time.Millisecond)
	publish(t, q, db, &queue.Message{Topic: "new"})
	eventually(t, "it is a dead letter", func() bool { return len(deadLetters(t, q)) == 1 })
	if d := deadLetters(t, q)[0]; d.Attempts != 0 || !strings.Contains(d.Reason, `knows the topic "new"`) {
		t.Errorf("dead letter %+v", d)
	}
}

// startUnknown starts a worker that waits for others for the time given.
func startUnknown(t *testing.T, q *queue.Queue, handlers queue.Handlers, limit time.Duration) *queue.Worker {
	t.Helper()
	w, err := queue.NewWorker(q, handlers, queue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.SetUnknown(10*time.Millisecond, limit)
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopWorker(t, w) })
	return w
}

// A stop interrupts a delivery that takes too long, and counts no attempt.
func TestWorker_Stop_uses_no_attempt(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	began := make(chan *queue.Message, 10)
	hang := func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
		began <- m
		<-ctx.Done()
		return nil, errors.New("the handler hides why it ended")
	}
	for range 2 {
		w := startWorker(t, q, queue.Handlers{"stock": {"placed": hang}}, queue.Config{Retry: fast(1)})
		if len(began) == 0 && one[int](t, db, `SELECT count(*) FROM river_job`) == 0 {
			publish(t, q, db, &queue.Message{Topic: "placed"})
		}
		if m := receive(t, began); m.Attempt != 1 {
			t.Errorf("attempt %d", m.Attempt)
		}
		stopWorker(t, w)
	}
	handler, received := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(1)})
	if m := receive(t, received); m.Attempt != 1 || len(m.History) != 0 {
		t.Errorf("after two stops: attempt %d, history %v", m.Attempt, m.History)
	}
	if n := len(deadLetters(t, q)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// A handler at its deadline has failed: that is an attempt.
func TestWorker_deadline_is_an_attempt(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	handler, received := deliveries(done)
	hang := func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
		if m.Attempt == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return handler(ctx, m)
	}
	startWorker(t, q, queue.Handlers{"stock": {"placed": hang}}, queue.Config{Retry: fast(2)})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	if m := receive(t, received); m.Attempt != 2 || m.History[0].Error != context.DeadlineExceeded.Error() {
		t.Errorf("attempt %d, history %v", m.Attempt, m.History)
	}
}

// A message that comes back from a process that died has used an attempt. With
// all of them used up, it is a dead letter without another delivery.
func TestWorker_process_died(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	publish(t, q, db, &queue.Message{Topic: "placed", Key: "poison"}, &queue.Message{Topic: "placed", Key: "survivor"})
	// What River leaves of deliveries whose process died, and of its rescues.
	for key, deaths := range map[string]int{"poison": 3, "survivor": 2} {
		if _, err := db.Exec(t.Context(), `UPDATE river_job SET attempt = $2::int, errors = array_fill(
				'{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "Stuck job rescued by JobRescuer", "trace": ""}'::jsonb, ARRAY[$2::int])
			WHERE args ->> 'key' = $1`, key, deaths); err != nil {
			t.Fatal(err)
		}
	}
	handler, received := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Retry: fast(3)})
	if m := receive(t, received); m.Key != "survivor" || m.Attempt != 3 || len(m.History) != 2 || !strings.Contains(m.History[0].Error, "process died") {
		t.Errorf("delivered %+v", m)
	}
	eventually(t, "the poison is a dead letter", func() bool { return len(deadLetters(t, q)) == 1 })
	if d := deadLetters(t, q)[0]; d.Message.Key != "poison" || d.Attempts != 3 || len(d.Message.History) != 4 {
		t.Errorf("dead letter %+v", d)
	}
}

// A delivery that another one has superseded records nothing, and a third one doesn't
// begin while that runs.
func TestWorker_superseded(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]error{"done": nil, "failed": errors.New("failed"), "dead": queue.Permanent(errors.New("dead"))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
			began, goOn := make(chan string, 100), make(chan error)
			var calls atomic.Int64
			handler := func(ctx context.Context, m *queue.Message) (queue.Effect, error) {
				began <- m.Key
				if m.Key == "twice" && calls.Add(1) < 3 {
					select {
					case err := <-goOn:
						return nil, err
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return nil, nil
			}
			startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Concurrency: 2})
			publish(t, q, db, &queue.Message{Topic: "placed", Key: "twice"})
			receive(t, began)
			// What a rescue does, when the process only seems to be dead.
			if _, err := db.Exec(t.Context(), `UPDATE river_job SET state = 'available'`); err != nil {
				t.Fatal(err)
			}
			receive(t, began)
			goOn <- outcome // to the first
			eventually(t, "the first has ended", func() bool { return one[int](t, db, `SELECT count(*) FROM river_job WHERE metadata ? 'snoozes'`) == 1 })
			// One that was due earlier would be fetched before this.
			publish(t, q, db, &queue.Message{Topic: "placed", Key: "later"})
			if next := receive(t, began); next != "later" {
				t.Fatal("a third delivery begins while the second runs")
			}
			goOn <- nil
			eventually(t, "both are done", func() bool { return one[int](t, db, `SELECT count(*) FROM queue_inbox`) == 2 })
			eventually(t, "no job is left", func() bool {
				return one[int](t, db, `SELECT count(*) FROM river_job WHERE state <> 'completed'`) == 0
			})
			if n := one[int](t, db, `SELECT count(*) FROM river_job`); n != 2 || len(deadLetters(t, q)) != 0 || calls.Load() > 3 {
				t.Errorf("%d jobs, %d dead letters, %d deliveries; want two jobs, and at most a third delivery", n, len(deadLetters(t, q)), calls.Load())
			}
		})
	}
}
