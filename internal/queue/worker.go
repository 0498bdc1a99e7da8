package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"ratelimiter/internal/postgres"
)

const (
	// deliveryTimeout bounds a delivery: the handler and its effect.
	deliveryTimeout = 5 * time.Second
	// rescueAfter is how long a job may be running before River takes its process
	// for dead: deliveryTimeout and recordTimeout, and some more. It looks every
	// 30 s, and a new leader is elected 15 s after the death of the last.
	rescueAfter = 10 * time.Second
	// softStopTimeout is how long a stop waits for deliveries before it interrupts
	// them.
	softStopTimeout = 3 * time.Second
	// pauseRefresh is how often an instance reads which groups are paused.
	pauseRefresh = 500 * time.Millisecond
	// pausedDelay is when a job of a paused group that was fetched nevertheless is
	// available again.
	pausedDelay = time.Second
	// unrecordedCap is the least value of RetryPolicy.Cap after a delivery without a
	// recorded outcome.
	unrecordedCap = time.Minute
	// finishedRetention is how long the jobs of delivered messages are kept for
	// people who look for them.
	finishedRetention = 10 * time.Minute
	// defaultConcurrency is the deliveries of a group that an instance runs at
	// once.
	defaultConcurrency = 10
)

// Config is how a Worker works.
type Config struct {
	Listen      *pgxpool.Pool                // direct connections for LISTEN, at most one; nil: the queue's pool
	Retry       RetryPolicy                  // zero: DefaultRetryPolicy
	Concurrency int                          // deliveries of each group at once; 0: 10
	Transport   Transport                    // brings messages to the handlers; nil: handlers run in the jobs
	Periodic    []Periodic                   // with distinct names
	Delivered   func(group string, r Result) // called after each delivery with an outcome; nil: nobody counts
}

// Worker delivers the messages of the groups that it has handlers for, and takes
// part in the periodic work. It is a component of the server.
type Worker struct {
	queue      *Queue
	dispatcher *Dispatcher
	cfg        Config
	deliver    func(context.Context, Delivery) error // the dispatcher's
	relay      *relay                                // nil: without a Transport
	client     *river.Client[pgx.Tx]                 // nil: not started, or with nothing to do
	cancel     context.CancelFunc
	refreshing sync.WaitGroup
}

// NewWorker returns a Worker that isn't started.
func NewWorker(q *Queue, handlers Handlers, cfg Config) (*Worker, error) {
	for group, topics := range handlers {
		for topic := range topics {
			if !slices.Contains(q.routes[topic], group) {
				return nil, fmt.Errorf("queue: the handler of (%s, %s) gets no messages: no route leads to it", group, topic)
			}
		}
	}
	if cfg.Listen == nil {
		cfg.Listen = q.db
	}
	if cfg.Retry == (RetryPolicy{}) {
		cfg.Retry = DefaultRetryPolicy
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Delivered == nil {
		cfg.Delivered = func(string, Result) {}
	}
	d := &Dispatcher{
		queue: q, handlers: handlers, retry: cfg.Retry, unknownDelay: unknownDelay, unknownLimit: unknownLimit, delivered: cfg.Delivered,
	}
	q.transport = cfg.Transport
	w := &Worker{queue: q, dispatcher: d, cfg: cfg, deliver: d.Deliver}
	if cfg.Transport != nil {
		w.relay = newRelay(w, cfg.Transport)
	}
	return w, cfg.Retry.validate()
}

// Name implements app.Component.
func (*Worker) Name() string { return "queue" }

// Start begins the deliveries and the periodic work.
func (w *Worker) Start(ctx context.Context) error {
	if len(w.dispatcher.handlers) == 0 && len(w.cfg.Periodic) == 0 {
		return nil
	}
	if err := w.queue.refreshPauses(ctx); err != nil {
		return fmt.Errorf("read the paused groups: %w", err)
	}
	facts, err := postgres.Inspect(ctx, w.cfg.Listen)
	if err != nil {
		return err
	}
	client, err := river.NewClient(newDriver(w.queue.db, w.cfg.Listen), w.riverConfig(facts.Pooler))
	if err != nil {
		return err
	}
	if w.relay != nil {
		err := w.relay.prepare(ctx)
		if errors.Is(err, ErrMisconfigured) {
			return err
		}
		w.relay.setFault(consuming, err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if err := client.Start(running); err != nil {
		cancel()
		return err
	}
	w.client, w.cancel = client, cancel
	w.pauseRiver(ctx)
	if w.relay != nil {
		w.relay.start()
	}
	w.refreshing.Go(func() { w.refresh(running) })
	return nil
}

// pauseRiver pauses the groups in River that were paused before it knew them, so that
// it doesn't fetch their jobs, which aren't delivered in any case.
func (w *Worker) pauseRiver(ctx context.Context) {
	for group := range w.dispatcher.handlers {
		if !w.queue.gate.isPaused(group) {
			continue
		}
		if err := w.client.QueuePause(ctx, group, nil); err != nil {
			w.queue.log.Warn("queue: a paused group is still fetched", "group", group, "error", err.Error())
		}
	}
}

// riverConfig returns the configuration of the client that works.
func (w *Worker) riverConfig(pollOnly bool) *river.Config {
	cfg := baseConfig(w.queue.log)
	cfg.Workers = river.NewWorkers()
	river.AddWorker(cfg.Workers, river.WorkFunc(w.work))
	workers := w.cfg.Concurrency
	if w.relay != nil {
		workers = relayed
	}
	cfg.Queues = map[string]river.QueueConfig{}
	for group := range w.dispatcher.handlers {
		cfg.Queues[group] = river.QueueConfig{MaxWorkers: workers}
	}
	addPeriodic(cfg, w.cfg.Periodic)
	cfg.PollOnly = pollOnly
	cfg.JobTimeout, cfg.RescueStuckJobsAfter, cfg.SoftStopTimeout = deliveryTimeout, rescueAfter, softStopTimeout
	cfg.CompletedJobRetentionPeriod = finishedRetention
	cfg.CancelledJobRetentionPeriod, cfg.DiscardedJobRetentionPeriod = -1, -1 // never: it would lose a message
	cfg.ReindexerIndexNames = reindexed()
	cfg.RetryPolicy = unrecorded(w.cfg.Retry)
	return cfg
}

// Stop ends the deliveries. It waits for those under way, and interrupts them
// after some seconds, which counts no attempt.
func (w *Worker) Stop(ctx context.Context) error {
	if w.client == nil {
		return nil
	}
	var consumers sync.WaitGroup
	if w.relay != nil {
		consumers.Go(w.relay.stop)
	}
	err := w.client.Stop(ctx)
	consumers.Wait()
	if w.relay != nil {
		w.cfg.Transport.Close()
	}
	w.cancel()
	w.refreshing.Wait()
	return err
}

// refresh keeps the paused groups current. While Postgres is down, those last
// known are paused.
func (w *Worker) refresh(ctx context.Context) {
	ticker := time.NewTicker(pauseRefresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			bounded, cancel := context.WithTimeout(ctx, pauseRefresh)
			if err := w.queue.refreshPauses(bounded); err != nil && ctx.Err() == nil {
				w.queue.log.Debug("queue: reading the paused groups failed", slog.String("error", err.Error()))
			}
			cancel()
		}
	}
}

// work is the delivery of one job, or its relay.
func (w *Worker) work(ctx context.Context, job *river.Job[deliveryArgs]) error {
	v := Delivery{Group: job.Queue, priority: job.Priority, Settle: func(ctx context.Context, tx pgx.Tx) error { return complete(ctx, tx, job) }}
	m, err := job.Args.decode()
	if err != nil {
		return result(w.dispatcher.setAside(ctx, v, reasonOf(fmt.Errorf("decode the message: %w", err)), job.Args.raw))
	}
	for _, e := range job.Errors {
		m = m.failed(e.At, withoutRescue(e.Error))
	}
	v.Message = m
	if w.relay != nil {
		v.Message.Attempt += job.Attempt - 1 // the process died that published: it may have been delivered
		return w.relay.publish(ctx, v)
	}
	v.Message.Attempt += job.Attempt
	return result(w.deliver(ctx, v))
}

// withoutRescue says what it means that River rescued a job.
func withoutRescue(reason string) string {
	if strings.HasPrefix(reason, "Stuck job rescued") {
		return errNoOutcome.Error()
	}
	return reason
}

// complete completes a job in tx, if this delivery is still the job's current
// one.
func complete(ctx context.Context, tx pgx.Tx, job *river.Job[deliveryArgs]) error {
	now, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
	switch {
	case errors.Is(err, river.ErrNotFound):
		return errSuperseded // it was completed, and the row is deleted
	case err != nil:
		return err
	case now.State != rivertype.JobStateCompleted || now.AttemptedAt == nil || !now.AttemptedAt.Equal(*job.AttemptedAt):
		return errSuperseded // it was rescued
	}
	return nil
}

// supersededDelay is longer than a delivery, which River cancels, and than the
// interval of River's scheduler, so that the newer delivery ends first.
const supersededDelay = 10 * time.Second

// result returns what River does with a job after a delivery.
func result(err error) error {
	switch {
	case err == nil:
		return nil // the job is completed already, or carried
	case errors.Is(err, errPaused):
		return river.JobSnooze(pausedDelay)
	case errors.Is(err, errSuperseded):
		// The row may be the newer delivery's, which runs: River doesn't compare.
		// A third one must not begin while it runs.
		return river.JobSnooze(supersededDelay)
	case errors.Is(err, ErrInterrupted):
		return river.JobSnooze(0)
	}
	return errors.New(reasonOf(err)) // River records it
}

// retryUnrecorded is River's policy for deliveries without a recorded outcome,
// most of which are those whose process died. One of the messages that were in
// delivery then may be the cause: they are delivered again at times so far apart
// that the others are done before it dies again. River's scheduler, which would
// bring them together, needs more than its interval for that.
type retryUnrecorded struct{ RetryPolicy }

// unrecorded returns the policy for retries without a recorded outcome.
func unrecorded(p RetryPolicy) retryUnrecorded {
	p.Base, p.Cap = max(p.Base, schedulerInterval), max(p.Cap, unrecordedCap)
	return retryUnrecorded{p}
}

// NextRetry implements river.ClientRetryPolicy.
func (p retryUnrecorded) NextRetry(job *rivertype.JobRow) time.Time {
	var m struct {
		Attempt int `json:"attempt"`
	}
	_ = json.Unmarshal(job.EncodedArgs, &m) // 0 if it isn't a message
	return time.Now().Add(p.next(m.Attempt + job.Attempt))
}
