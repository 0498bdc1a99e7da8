// Package queuetest is the conformance suite of transports: what the queue promises
// must hold with every one of them, on a real server that is killed and paused.
package queuetest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// Broker is a real server and how its transport is made. A nil Broker means that
// messages stay in Postgres.
type Broker struct {
	Address string // of the server
	// Open returns a transport with connections of its own. Those with the same
	// prefix share queues. The worker that it is given to closes it. A message whose
	// consumer died is delivered again within seconds.
	Open func(address, prefix string) (queue.Transport, error)
	// Send puts a body into the queue of a group as any other program could.
	Send func(t testing.TB, prefix, group string, body []byte)
	// Server is the process.
	Server Server
	// Settled waits until new queues survive that the server is killed; nil: they do
	// at once.
	Settled func(t testing.TB)
	// Ordered says that messages of a key that were published one after another are
	// received one after another.
	Ordered bool
	// TextOnly and EmptyRefused say that the broker refuses bodies that aren't UTF-8
	// text, and empty ones.
	TextOnly, EmptyRefused bool
}

// Server is a process that can be made to fail.
type Server interface {
	Kill()     // ends it at once
	Start()    // starts it again, and waits until it serves
	Pause()    // makes it hang
	Continue() // ends a Pause
}

// prepare returns a transport whose queues exist and survive a kill. It is closed at
// the end of the test.
func (b *Broker) prepare(t *testing.T, prefix string, groups []string) queue.Transport {
	t.Helper()
	transport, err := b.Open(b.Address, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := transport.Prepare(ctx, groups); err != nil {
		t.Fatal(err)
	}
	if b.Settled != nil {
		b.Settled(t)
	}
	return transport
}

// patience is how long something that must happen is waited for.
const patience = time.Minute

func newPrefix() string { return "test-" + strings.ToLower(rand.Text()[:10]) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fixture is a queue in a database of its own, with queues of its own in the broker.
type fixture struct {
	*testing.T
	broker *Broker
	prefix string
	queue  *queue.Queue
	db     *pgxpool.Pool
}

func newFixture(t *testing.T, b *Broker, routes queue.Routes) *fixture {
	t.Helper()
	db := testkit.Database(t)
	q, err := queue.New(db, routes, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, b, newPrefix(), q, db}
}

// worker starts a worker that stops at the end of the test, or by the function
// returned. A zero policy means short delays.
func (f *fixture) worker(handlers queue.Handlers, cfg queue.Config) (stop func()) {
	f.Helper()
	if f.broker != nil {
		transport, err := f.broker.Open(f.broker.Address, f.prefix)
		if err != nil {
			f.Fatal(err)
		}
		cfg.Transport = transport
	}
	if cfg.Retry == (queue.RetryPolicy{}) {
		cfg.Retry = queue.RetryPolicy{Base: time.Millisecond, Cap: 10 * time.Millisecond, MaxAttempts: 8}
	}
	w, err := queue.NewWorker(f.queue, handlers, cfg)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Start(f.Context()); err != nil {
		f.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := w.Stop(ctx); err != nil {
			f.Errorf("stop: %v", err)
		}
	}
	f.Cleanup(stop)
	return stop
}

func (f *fixture) publish(messages ...*queue.Message) {
	f.Helper()
	publish(f.T, f.queue, f.db, messages...)
}

// publish publishes messages in one transaction.
func publish(t *testing.T, q *queue.Queue, db *pgxpool.Pool, messages ...*queue.Message) {
	t.Helper()
	if err := postgres.InTx(t.Context(), db, func(tx pgx.Tx) error { return q.Publish(t.Context(), tx, messages...) }); err != nil {
		t.Fatal(err)
	}
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

// hurry makes messages that wait for their next attempt due.
func (f *fixture) hurry() {
	f.Helper()
	if _, err := f.db.Exec(f.Context(), makeDue); err != nil {
		f.Fatal(err)
	}
}

// makeDue makes all jobs available at once.
const makeDue = `UPDATE river_job SET state = 'available', scheduled_at = now()
	WHERE state IN ('retryable', 'scheduled') OR state = 'available' AND scheduled_at > now()`

// count returns the number that a query selects.
func (f *fixture) count(query string, args ...any) (n int) {
	f.Helper()
	if err := f.db.QueryRow(f.Context(), query, args...).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

// await waits until a condition holds.
func (f *fixture) await(what string, holds func() bool) {
	f.Helper()
	testkit.Await(f.T, patience, what, holds)
}
