// Package queue delivers messages between services, with retries and dead
// letters. River (riverqueue.com) is the engine: a message that waits is a row
// in its table of jobs.
//
// Publish inserts messages in the transaction of the change that causes them,
// one job for each group of the topic. Each group gets every message of its
// topics (publish/subscribe); within a group, the workers of all instances
// compete for them (point-to-point).
//
// A Worker takes jobs whose time has come and calls the handler of (group,
// topic). The handler does what must happen outside of a transaction, such as a
// call to another service, and returns the effect. One transaction then
// completes the job, adds a row to the inbox (message, group) and runs the
// effect, which may publish messages. So a message is delivered at least once,
// and its effect in Postgres happens exactly once: if the message is already in
// the inbox, the effect is skipped.
//
// A delivery that fails completes its job too, and inserts the next one, with
// the attempt and its error added to the message and with a delay by
// RetryPolicy; after the last attempt, or a permanent error, it inserts a dead
// letter instead. Either way, message, attempts and history are never without a
// row. River's own attempts count only deliveries without any outcome, because
// the process died or Postgres did: they are added to the message's, so that a
// message that kills its process becomes a dead letter as well.
//
// Every job is of one River kind, "delivery", and the group is its River queue.
// River's maintenance discards stuck jobs of kinds that the leading instance
// doesn't know; it knows this one.
//
// The order of messages isn't kept, as with any queue that retries: handlers
// look at the state that they find.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"ratelimiter/internal/postgres"
)

// Routes names the groups that get the messages of each topic.
type Routes map[string][]string

// Groups returns the names of all groups, sorted.
func (r Routes) Groups() (names []string) {
	for _, groups := range r {
		names = append(names, groups...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Priorities of jobs. River takes those of a higher priority (a lower number)
// first. A trigger of the table gives the low one to new messages of an owner with
// 100 waiting jobs.
const (
	priorityNormal = 2
	priorityLow    = 4
)

// Queue publishes messages and is the operator's side of the queue: dead
// letters, pauses and numbers. A Worker delivers. It is safe for concurrent use.
type Queue struct {
	db     *pgxpool.Pool
	routes Routes
	groups []string // of routes, sorted
	client *river.Client[pgx.Tx]
	gate   gate

	transport Transport // of the Worker; nil: none
	log       *slog.Logger
}

// New returns the queue stored in db.
func New(db *pgxpool.Pool, routes Routes, log *slog.Logger) (*Queue, error) {
	q := &Queue{db: db, routes: routes, groups: routes.Groups(), log: log}
	var err error
	q.client, err = river.NewClient(newDriver(db, db), baseConfig(log))
	return q, err
}

// Publish inserts the messages in tx, for each group of their topics, and sets
// their IDs and times. They are delivered after the commit.
func (q *Queue) Publish(ctx context.Context, tx pgx.Tx, messages ...*Message) error {
	batch := &pgx.Batch{}
	if err := q.PublishBatch(ctx, tx, batch, batch, messages...); err != nil {
		return err
	}
	return postgres.Classify("publish", tx.SendBatch(ctx, batch).Close())
}

// PublishBatch is Publish with statements that are added to the batch, which the
// caller sends in tx. Those that notify workers are added to notify, which is the
// same batch or sent after the commit. A worker that isn't notified looks for
// messages once a second.
func (q *Queue) PublishBatch(ctx context.Context, tx pgx.Tx, batch, notify *pgx.Batch, messages ...*Message) error {
	var jobs []river.InsertManyParams
	for _, m := range messages {
		groups := q.routes[m.Topic]
		if len(groups) == 0 {
			return fmt.Errorf("publish: no group gets the topic %q", m.Topic)
		}
		m.PublishedAt = time.Now().UTC()
		if m.ID == "" {
			m.ID = newID(m.PublishedAt)
		}
		for _, group := range groups {
			jobs = append(jobs, newJob(group, *m, priorityNormal, time.Time{}))
		}
	}
	return postgres.Classify("publish", q.insertBatch(ctx, tx, batch, notify, jobs))
}

// insert inserts jobs in tx.
func (q *Queue) insert(ctx context.Context, tx pgx.Tx, jobs []river.InsertManyParams) error {
	batch := &pgx.Batch{}
	if err := q.insertBatch(ctx, tx, batch, batch, jobs); err != nil {
		return err
	}
	return tx.SendBatch(ctx, batch).Close()
}

// insertBatch adds the statements that insert jobs to the batches.
func (q *Queue) insertBatch(ctx context.Context, tx pgx.Tx, batch, notify *pgx.Batch, jobs []river.InsertManyParams) error {
	if len(jobs) == 0 {
		return nil
	}
	_, err := q.client.InsertManyTx(ctx, batchTx{tx, batch, notify}, jobs)
	return err
}

// newJob returns the job of a message. A zero time means now, by the database's
// clock.
func newJob(group string, m Message, priority int, at time.Time) river.InsertManyParams {
	return river.InsertManyParams{Args: deliveryArgs{message: m}, InsertOpts: &river.InsertOpts{
		Queue: group, Priority: priority, ScheduledAt: at, MaxAttempts: math.MaxInt16,
	}}
}

// deliveryArgs are the arguments of a job: a message. They are decoded by the
// delivery, because River would retry a job that it can't decode.
type deliveryArgs struct {
	message Message         // of a new job
	raw     json.RawMessage // of a job that was read
}

// Kind is the same for all jobs: see the package comment.
func (deliveryArgs) Kind() string { return "delivery" }

// MarshalJSON encodes the message.
func (a deliveryArgs) MarshalJSON() ([]byte, error) { return json.Marshal(a.message) }

// UnmarshalJSON keeps the message encoded.
func (a *deliveryArgs) UnmarshalJSON(data []byte) error {
	a.raw = slices.Clone(data)
	return nil
}

// errNoMessage reports arguments that are JSON, but not a message.
var errNoMessage = errors.New("the message has no id or no topic")

// decode returns the message.
func (a *deliveryArgs) decode() (m Message, err error) {
	if err = json.Unmarshal(a.raw, &m); err == nil && (m.ID == "" || m.Topic == "") {
		err = errNoMessage
	}
	return m, err
}
