package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/internal/queue"
)

// pipe is a broker in memory: a channel for each group. It loses what isn't
// acknowledged.
type pipe struct {
	mu         sync.Mutex
	groups     map[string]chan queue.Incoming
	prepareErr error
	publishErr error
	published  int // attempts to publish
}

func newPipe() *pipe { return &pipe{groups: map[string]chan queue.Incoming{}} }

func (p *pipe) group(name string) chan queue.Incoming {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[name] == nil {
		p.groups[name] = make(chan queue.Incoming, 1000)
	}
	return p.groups[name]
}

func (p *pipe) fail(prepare, publish error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepareErr, p.publishErr = prepare, publish
}

func (p *pipe) attempts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published
}

func (p *pipe) Prepare(context.Context, []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.prepareErr
}

func (p *pipe) Publish(_ context.Context, group string, m queue.Outgoing) error {
	p.mu.Lock()
	p.published++
	err := p.publishErr
	p.mu.Unlock()
	if err == nil {
		p.group(group) <- queue.Incoming{Body: m.Body}
	}
	return err
}

func (p *pipe) Consume(ctx context.Context, group string, parallel int, receive func(queue.Incoming) error) error {
	var handlers sync.WaitGroup
	for range parallel {
		handlers.Go(func() {
			for {
				select {
				case in := <-p.group(group):
					_ = receive(in)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	handlers.Wait()
	return nil
}

func (p *pipe) Waiting(_ context.Context, group string) (int64, error) {
	return int64(len(p.group(group))), nil
}

func (*pipe) Close() {}

// A broker that doesn't take a message costs no attempt, however long.
func TestRelay_broker_down(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	broker.fail(errors.New("connection refused"), errors.New("connection refused"))
	handler, received := deliveries(done)
	w := startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Transport: broker, Retry: fast(2)})
	if w.TransportFault() == nil {
		t.Error("no fault is reported")
	}
	publish(t, q, db, &queue.Message{Topic: "placed"})
	eventually(t, "it was tried four times", func() bool {
		if _, err := db.Exec(t.Context(), `UPDATE river_job SET scheduled_at = now(), state = 'available' WHERE state IN ('available', 'scheduled')`); err != nil {
			t.Fatal(err)
		}
		return broker.attempts() >= 4
	})
	if stats, err := q.Stats(t.Context()); err != nil || stats[0].Dead != 0 || len(received) != 0 {
		t.Errorf("%+v, %v, %d deliveries", stats, err, len(received))
	}
	if n := one[int](t, db, `SELECT count(*) FROM river_job WHERE errors IS NOT NULL`); n != 0 {
		t.Error("it counts as a failure, after which River waits longer each time")
	}
	broker.fail(nil, nil)
	if m := receive(t, received); m.Attempt != 1 || len(m.History) != 0 {
		t.Errorf("delivered as attempt %d with the history %v", m.Attempt, m.History)
	}
	eventually(t, "no fault is reported", func() bool { return w.TransportFault() == nil })
}

// A message that a broker doesn't take waits since it was published, although its job
// is tried again and again.
func TestRelay_Stats_broker_down(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	broker.fail(errors.New("connection refused"), errors.New("connection refused"))
	handler, _ := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Transport: broker})
	publish(t, q, db, &queue.Message{Topic: "placed"})
	if _, err := db.Exec(t.Context(), `UPDATE river_job SET created_at = now() - interval '2 hours'`); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		eventually(t, "the broker didn't take it, once more", func() bool {
			return one[int](t, db, `SELECT count(*) FROM river_job WHERE state = 'available' AND (metadata ->> 'snoozes')::int >= $1`, n) == 1
		})
		s, err := q.Stats(t.Context())
		if err != nil || s[0].Ready+s[0].InFlight != 1 || s[0].Delayed != 0 || s[0].OldestAge < 2*time.Hour {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// A broker that an operator must change keeps the worker from starting.
func TestRelay_misconfigured(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	broker.fail(fmt.Errorf("%w: no permission", queue.ErrMisconfigured), nil)
	handler, _ := deliveries(done)
	w, err := queue.NewWorker(q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Transport: broker})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); !errors.Is(err, queue.ErrMisconfigured) {
		t.Errorf("Start: %v", err)
	}
	if w.TransportFault() != nil {
		t.Error("the log says that messages wait until the broker can be used")
	}
	stopWorker(t, w)
}

// A message whose delivery had no outcome waits longer before the next attempt, which
// counts it; after the last one it is a dead letter.
func TestRelay_redelivered(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	handler, received := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Transport: broker, Retry: fast(3)})
	body := func(id string, attempt int) []byte {
		return fmt.Appendf(nil, `{"id":%q,"topic":"placed","attempt":%d}`, id, attempt)
	}
	broker.group("stock") <- queue.Incoming{Body: body("first", 0), Redelivered: true}
	eventually(t, "it waits", func() bool {
		return one[int](t, db, `SELECT count(*) FROM river_job WHERE args ->> 'id' = 'first'`) == 1
	})
	eventually(t, "it is delivered", func() bool {
		if _, err := db.Exec(t.Context(), `UPDATE river_job SET scheduled_at = now(), state = 'available' WHERE state IN ('available', 'scheduled')`); err != nil {
			t.Fatal(err)
		}
		return len(received) == 1
	})
	if m := receive(t, received); m.Attempt != 2 || len(m.History) != 1 || !strings.Contains(m.History[0].Error, "no outcome") {
		t.Errorf("attempt %d, history %v", m.Attempt, m.History)
	}
	broker.group("stock") <- queue.Incoming{Body: body("last", 2), Redelivered: true}
	eventually(t, "it is a dead letter", func() bool { return len(deadLetters(t, q)) == 1 })
	if d := deadLetters(t, q)[0]; d.Attempts != 3 || d.Message.ID != "last" {
		t.Errorf("dead letter %+v", d)
	}
	// What is done has no second effect, also if the broker delivers it again.
	eventually(t, "the first is done", func() bool {
		return one[int](t, db, `SELECT count(*) FROM queue_inbox i JOIN river_job j ON j.args ->> 'id' = i.message WHERE message = 'first' AND state = 'completed'`) > 0
	})
	broker.group("stock") <- queue.Incoming{Body: body("first", 1), Redelivered: true}
	broker.group("stock") <- queue.Incoming{Body: body("first", 0)}
	broker.group("stock") <- queue.Incoming{Body: body("other", 0)}
	for m := receive(t, received); m.ID != "other"; m = receive(t, received) {
		if m.ID != "first" { // its handler may be called, its effect isn't repeated
			t.Errorf("delivered: %+v", m)
		}
	}
	eventually(t, "all messages are done", func() bool { return one[int](t, db, `SELECT count(*) FROM queue_inbox`) == 2 })
	if n := one[int](t, db, `SELECT count(*) FROM river_job WHERE state <> 'completed'`); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}

// While a group is paused, what the broker brings goes back to Postgres, and no
// attempt is counted.
func TestRelay_paused(t *testing.T) {
	t.Parallel()
	q, db := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	handler, received := deliveries(done)
	startWorker(t, q, queue.Handlers{"stock": {"placed": handler}}, queue.Config{Transport: broker})
	if err := q.Pause(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	broker.group("stock") <- queue.Incoming{Body: []byte(`{"id":"first","topic":"placed"}`)}
	eventually(t, "it waits in Postgres", func() bool { return one[int](t, db, `SELECT count(*) FROM river_job`) == 1 })
	if len(received) != 0 {
		t.Error("it was delivered")
	}
	if err := q.Resume(t.Context(), "stock", nil); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, received); m.Attempt != 1 {
		t.Errorf("attempt %d", m.Attempt)
	}
}

// The numbers of a group include what is in the broker.
func TestRelay_Stats(t *testing.T) {
	t.Parallel()
	q, _ := newQueue(t, queue.Routes{"placed": {"stock"}})
	broker := newPipe()
	if _, err := queue.NewWorker(q, nil, queue.Config{Transport: broker}); err != nil {
		t.Fatal(err)
	}
	broker.group("stock") <- queue.Incoming{}
	if stats, err := q.Stats(t.Context()); err != nil || len(stats) != 1 || stats[0].InBroker != 1 || stats[0].Ready != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
}
