package queue_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/queue"
	"ratelimiter/internal/testkit"
)

// subject is what a benchmark measures: the queue, or River by itself.
type subject struct {
	name    string
	db      *pgxpool.Pool
	publish func(ctx context.Context, tx pgx.Tx, n int) error
	// start begins to process messages. received is called with each message at the
	// start of its handler, whose effect is a row in bench_effects.
	start func(received func(n int)) (stop func())

	published atomic.Int64 // by publishRate, so that each owner has few
}

// work is the payload of a message, and a job of River by itself.
type work struct {
	N     int    `json:"n"`
	Order string `json:"order"`
	Owner string `json:"owner"`
}

func newWork(n int) work {
	return work{N: n, Order: fmt.Sprint("ord_", n), Owner: fmt.Sprint("own_", n%owners)}
}

// Kind implements river.JobArgs.
func (work) Kind() string { return "work" }

// owners is the number of owners of the messages.
const owners = 1000

// newSubject starts a Postgres on disk, with fsync and synchronous_commit on.
func newSubject(b *testing.B, name string) *subject {
	b.Helper()
	url, err := os.ReadFile(testkit.NewDurableCluster(b).AddressFile)
	if err != nil {
		b.Fatal(err)
	}
	db, err := postgres.Open(b.Context(), string(url), postgres.WithMaxConns(40), postgres.WithStatementTimeout(0))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	execute(b, db, `CREATE TABLE bench_changes (n int); CREATE TABLE bench_effects (n int)`)
	return &subject{name: name, db: db}
}

// execute runs statements.
func execute(b *testing.B, db *pgxpool.Pool, statements string, args ...any) {
	b.Helper()
	if _, err := db.Exec(b.Context(), statements, args...); err != nil {
		b.Fatal(err)
	}
}

// effectOf is the effect of a message, in tx.
func effectOf(ctx context.Context, tx pgx.Tx, n int) error {
	_, err := tx.Exec(ctx, `INSERT INTO bench_effects VALUES ($1)`, n)
	return err
}

// newQueueSubject returns the queue.
func newQueueSubject(b *testing.B) *subject {
	b.Helper()
	s := newSubject(b, "queue")
	q, err := queue.New(s.db, queue.Routes{"work": {"workers"}}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	s.publish = func(ctx context.Context, tx pgx.Tx, n int) error {
		v := newWork(n)
		payload, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return q.Publish(ctx, tx, &queue.Message{Topic: "work", Key: v.Order, Owner: v.Owner, Version: 1, Payload: payload})
	}
	s.start = func(received func(n int)) func() {
		handler := func(_ context.Context, m *queue.Message) (queue.Effect, error) {
			var v work
			if err := m.Decode(&v); err != nil {
				return nil, err
			}
			received(v.N)
			return func(ctx context.Context, tx pgx.Tx) error { return effectOf(ctx, tx, v.N) }, nil
		}
		w, err := queue.NewWorker(q, queue.Handlers{"workers": {"work": handler}}, queue.Config{})
		return begin(b, err, w)
	}
	return s
}

// component is a worker of either kind.
type component interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// begin starts a component.
func begin(b *testing.B, err error, c component) (stop func()) {
	b.Helper()
	if err == nil {
		err = c.Start(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := c.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	}
}

// newRiverSubject returns River by itself, with the same settings as the queue's and its
// own indexes, as its documentation describes it for effects that happen once:
// the job is completed in the transaction of its effect.
func newRiverSubject(b *testing.B) *subject {
	b.Helper()
	s := newSubject(b, "river")
	execute(b, s.db, `DROP INDEX river_job_owner; CREATE INDEX river_job_args_index ON river_job USING gin (args)`)
	config := func() *river.Config {
		return &river.Config{FetchCooldown: 5 * time.Millisecond, JobTimeout: 5 * time.Second, Logger: quiet()}
	}
	inserter, err := river.NewClient(riverpgxv5.New(s.db), config())
	if err != nil {
		b.Fatal(err)
	}
	s.publish = func(ctx context.Context, tx pgx.Tx, n int) error {
		_, err := inserter.InsertTx(ctx, tx, newWork(n), nil)
		return err
	}
	s.start = func(received func(n int)) func() {
		cfg := config()
		cfg.Workers = river.NewWorkers()
		cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}}
		river.AddWorker(cfg.Workers, river.WorkFunc(func(ctx context.Context, job *river.Job[work]) error {
			received(job.Args.N)
			return postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
				if err := effectOf(ctx, tx, job.Args.N); err != nil {
					return err
				}
				_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
				return err
			})
		}))
		client, err := river.NewClient(riverpgxv5.New(s.db), cfg)
		return begin(b, err, client)
	}
	return s
}

// change commits a change with its message. committing is called before the
// commit.
func (s *subject) change(ctx context.Context, n int, committing func()) error {
	return postgres.InTx(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO bench_changes VALUES ($1)`, n); err != nil {
			return err
		}
		err := s.publish(ctx, tx, n)
		committing()
		return err
	})
}

// latencies are the times from commit to handler of messages at a steady rate.
type latencies []time.Duration

// quantile returns the latency that a share of the messages doesn't exceed, in
// milliseconds.
func (l latencies) quantile(share float64) float64 {
	slices.Sort(l)
	return float64(l[int(math.Ceil(share*float64(len(l))))-1].Microseconds()) / 1000
}

// flow publishes messages at a steady rate, while a worker runs, and measures
// their latencies.
type flow struct {
	*subject
	sent []atomic.Int64 // when the commit of each began, in nanoseconds since zero
	zero time.Time

	mu   sync.Mutex
	seen latencies
	left sync.WaitGroup // messages without a delivery
}

// benchRate is 300 in the figures of the documentation, if they don't say otherwise.
var benchRate = flag.Int("bench-rate", 300, "messages per second of the benchmarks of latency")

func newFlow(s *subject, seconds int) *flow {
	f := &flow{subject: s, sent: make([]atomic.Int64, *benchRate*seconds), zero: time.Now()}
	f.left.Add(len(f.sent))
	return f
}

func (f *flow) received(n int) {
	took := time.Since(f.zero) - time.Duration(f.sent[n].Load())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, took)
	f.left.Done()
}

// take returns the latencies since the last call.
func (f *flow) take() latencies {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// send publishes all messages, each at its time or, if 16 publishers can't keep
// up, as soon as they can.
func (f *flow) send(b *testing.B) {
	var publishers sync.WaitGroup
	var next atomic.Int64
	began := time.Now()
	for range 16 {
		publishers.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(f.sent); n = int(next.Add(1)) - 1 {
				time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(*benchRate))))
				if err := f.change(b.Context(), n, func() { f.sent[n].Store(int64(time.Since(f.zero))) }); err != nil {
					b.Error(err)
					f.left.Done()
				}
			}
		})
	}
	publishers.Wait()
	if took := time.Since(began); took > time.Duration(len(f.sent)+*benchRate)*time.Second/time.Duration(*benchRate) {
		b.Logf("%s: the machine is too busy: %d messages were published in %s", f.name, len(f.sent), took)
	}
}

// measure lets a worker process a flow and returns the latencies.
func measure(b *testing.B, s *subject, seconds int) latencies {
	f := newFlow(s, seconds)
	stop := s.start(f.received)
	f.send(b)
	f.left.Wait()
	stop()
	return f.take()
}
