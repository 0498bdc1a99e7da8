package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"ratelimiter/internal/postgres"
)

const (
	// recordTimeout bounds recording a failure, which happens after the deadline
	// of the delivery may have passed.
	recordTimeout = 3 * time.Second
	// unknownDelay is the time until a message of an unknown topic is delivered
	// again, maybe to another instance, and unknownLimit how long one that knows
	// it is waited for: longer than a rolling upgrade takes.
	unknownDelay = 10 * time.Second
	unknownLimit = time.Hour
)

// Handler processes the messages of one topic for one group. It does what must
// happen outside of a transaction, such as a call to another service, and
// returns the effect: what happens in Postgres, which may be nothing. It may be
// called again for the same message, at the same time as well, so that calls to
// other services need an idempotency key, such as m.ID. An error is retried,
// unless it is marked by Permanent or Postpone. ctx has the deadline of the
// delivery and ends early when the instance stops.
type Handler func(ctx context.Context, m *Message) (Effect, error)

// Effect is the part of a handler that runs in the transaction that completes
// the message: exactly once. Its errors are those of a Handler.
type Effect func(ctx context.Context, tx pgx.Tx) error

// Handlers are the handlers of an instance, by group and topic.
type Handlers map[string]map[string]Handler

// Delivery is one message on its way to a group's handler.
type Delivery struct {
	Group   string
	Message Message // Attempt includes this delivery
	// Settle completes the job of the message, in the transaction that records the
	// outcome. It fails with ErrInterrupted if another delivery of the message has
	// taken over. Nil: a broker delivered the message, and it is acknowledged when
	// Deliver has returned nil.
	Settle func(context.Context, pgx.Tx) error

	priority int // of the job; 0: normal
}

// Dispatcher delivers messages to the handlers of this instance, whether a job or a
// broker brings them. It is safe for concurrent use.
type Dispatcher struct {
	queue    *Queue
	handlers Handlers
	retry    RetryPolicy

	unknownDelay, unknownLimit time.Duration

	delivered func(group string, r Result)
}

// Result is the recorded outcome of a delivery.
type Result string

// The results of deliveries.
const (
	ResultDone      Result = "done"
	ResultRetried   Result = "retried"   // it failed, and is delivered again
	ResultPostponed Result = "postponed" // it is delivered again, and no attempt was counted
	ResultUnknown   Result = "unknown"   // postponed, because this instance has no handler for it
	ResultDead      Result = "dead"      // it became a dead letter
)

// Deliver calls the handler of a message and records the outcome: the effect,
// the next attempt or a dead letter. It returns nil if the outcome is recorded.
// Otherwise the message must be delivered again, and the attempt be counted unless
// the error is ErrInterrupted.
func (d *Dispatcher) Deliver(ctx context.Context, v Delivery) error {
	if d.queue.gate.isPaused(v.Group) {
		return errPaused
	}
	if v.Message.Attempt > d.retry.MaxAttempts {
		v.Message.Attempt = d.retry.MaxAttempts
		return d.bury(ctx, v, errors.New("the attempts are used up: the last delivery had no outcome"))
	}
	handler, known := d.handlers[v.Group][v.Message.Topic]
	if !known {
		return d.unknown(ctx, v)
	}
	err := d.process(ctx, v, handler)
	if err == nil {
		d.delivered(v.Group, ResultDone)
	}
	if err == nil || errors.Is(err, ErrInterrupted) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ErrInterrupted // the instance stops; at the deadline it would be DeadlineExceeded
	}
	return d.failed(ctx, v, err)
}

// process calls the handler and runs its effect.
func (d *Dispatcher) process(ctx context.Context, v Delivery, handler Handler) (err error) {
	defer func() {
		if value := recover(); value != nil {
			d.queue.log.Error("queue: a handler panicked", attributes(v, slog.String("stack", string(debug.Stack())))...)
			err = fmt.Errorf("panic: %v", value)
		}
	}()
	effect, err := handler(ctx, &v.Message)
	if err != nil {
		return err
	}
	return postgres.InTx(ctx, d.queue.db, func(tx pgx.Tx) error {
		if err := v.settle(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO queue_inbox (message, "group") VALUES ($1, $2) ON CONFLICT DO NOTHING`, v.Message.ID, v.Group)
		if err != nil || tag.RowsAffected() == 0 || effect == nil {
			return err // no row: the effect has happened
		}
		return effect(ctx, tx)
	})
}

// unknown handles a message that this instance has no handler for.
func (d *Dispatcher) unknown(ctx context.Context, v Delivery) error {
	v.Message.Attempt-- // it isn't one
	now := time.Now().UTC()
	if v.Message.UnknownSince.IsZero() {
		v.Message.UnknownSince = now
	}
	if now.Sub(v.Message.UnknownSince) >= d.unknownLimit {
		return d.bury(ctx, v, fmt.Errorf("no instance of the group knows the topic %q", v.Message.Topic))
	}
	return d.reschedule(ctx, v, d.unknownDelay, ResultUnknown)
}

// failed records an attempt that failed with err.
func (d *Dispatcher) failed(ctx context.Context, v Delivery, err error) error {
	if postponed, ok := errors.AsType[postponedError](err); ok {
		v.Message.Attempt--
		return d.reschedule(ctx, v, postponed.after, ResultPostponed)
	}
	_, permanent := errors.AsType[permanentError](err)
	if permanent || v.Message.Attempt >= d.retry.MaxAttempts {
		return d.bury(ctx, v, err)
	}
	v.Message = v.Message.failed(time.Now(), reasonOf(err))
	delay := d.retry.next(v.Message.Attempt)
	d.queue.log.Info("queue: a delivery failed, retrying", attributes(v, slog.String("error", reasonOf(err)), slog.String("in", delay.String()))...)
	return d.reschedule(ctx, v, delay, ResultRetried)
}

// errNoOutcome is the failure of a delivery that nobody has recorded the outcome of.
var errNoOutcome = errors.New("the delivery had no outcome: its process died or hung")

// lost records that an earlier delivery of the message by a broker had no outcome.
// Messages that were in delivery together are delivered again apart: see
// retryUnrecorded.
//
// If the process died that published the message, its job is still open and would
// publish it once more; a message that kills its process would multiply. So the next
// attempt, or the dead letter, replaces open jobs of the message.
func (d *Dispatcher) lost(ctx context.Context, v Delivery) error {
	var outcome Result
	err := d.record(ctx, v, func(ctx context.Context, tx pgx.Tx) error {
		var counted int // attempts, by others
		var dead bool
		if err := tx.QueryRow(ctx, closeJobs, v.Group, v.Message.ID).Scan(&counted, &dead); err != nil || dead {
			return err
		}
		v.Message.Attempt = min(max(v.Message.Attempt, counted), d.retry.MaxAttempts)
		v.Message = v.Message.failed(time.Now(), errNoOutcome.Error())
		if v.Message.Attempt == d.retry.MaxAttempts {
			outcome = ResultDead
			return insertDead(ctx, tx, v, errNoOutcome.Error(), nil)
		}
		outcome = ResultRetried
		return d.insertJob(ctx, tx, v, unrecorded(d.retry).next(v.Message.Attempt))
	})
	if err == nil && outcome != "" {
		d.delivered(v.Group, outcome)
	}
	return err
}

// closeJobs completes the open jobs of a message, and returns the most attempts of one
// and whether the message is a dead letter.
const closeJobs = `
	WITH closed AS (
		UPDATE river_job SET state = 'completed', finalized_at = now()
		WHERE kind = 'delivery' AND queue = $1 AND args ->> 'id' = $2 AND state NOT IN ('completed', 'cancelled', 'discarded')
		RETURNING (args ->> 'attempt')::int AS attempt
	) SELECT (SELECT coalesce(max(attempt), 0) FROM closed), EXISTS (SELECT FROM dead_letters WHERE "group" = $1 AND message ->> 'id' = $2)`

// putBack leaves a message that nobody has begun with to another delivery.
func (d *Dispatcher) putBack(ctx context.Context, v Delivery) error {
	return d.insertNext(ctx, v, pausedDelay)
}

// reschedule inserts the job of the message's next delivery, and counts the result.
func (d *Dispatcher) reschedule(ctx context.Context, v Delivery, delay time.Duration, result Result) error {
	err := d.insertNext(ctx, v, delay)
	if err == nil {
		d.delivered(v.Group, result)
	}
	return err
}

// insertNext inserts the job of the message's next delivery.
func (d *Dispatcher) insertNext(ctx context.Context, v Delivery, delay time.Duration) error {
	return d.record(ctx, v, func(ctx context.Context, tx pgx.Tx) error { return d.insertJob(ctx, tx, v, delay) })
}

// insertJob is insertNext in tx.
func (d *Dispatcher) insertJob(ctx context.Context, tx pgx.Tx, v Delivery, delay time.Duration) error {
	var now time.Time // by the clock that decides what is due
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return err
	}
	at := now.Add(max(delay, time.Microsecond))
	return d.queue.insert(ctx, tx, []river.InsertManyParams{newJob(v.Group, v.Message, max(v.priority, priorityNormal), at)})
}

// bury makes the message a dead letter.
func (d *Dispatcher) bury(ctx context.Context, v Delivery, cause error) error {
	reason := reasonOf(cause)
	v.Message = v.Message.failed(time.Now(), reason)
	return d.setAside(ctx, v, reason, nil)
}

// setAside inserts a dead letter. encoded is a message that can't be decoded; nil: it
// can.
func (d *Dispatcher) setAside(ctx context.Context, v Delivery, reason string, encoded json.RawMessage) error {
	err := d.record(ctx, v, func(ctx context.Context, tx pgx.Tx) error { return insertDead(ctx, tx, v, reason, encoded) })
	if err == nil {
		d.delivered(v.Group, ResultDead) // Monitor warns, once for many
		d.queue.log.Info("queue: a message became a dead letter", attributes(v, slog.String("reason", reason))...)
	}
	return err
}

// insertDead inserts the dead letter of setAside in tx.
func insertDead(ctx context.Context, tx pgx.Tx, v Delivery, reason string, encoded json.RawMessage) (err error) {
	if encoded == nil {
		if encoded, err = json.Marshal(v.Message); err != nil {
			return err
		}
	}
	return insertDeadLetter(ctx, tx, DeadLetter{Group: v.Group, Message: v.Message, Reason: reason, Attempts: v.Message.Attempt}, encoded)
}

// record settles the delivery and runs fn, in one transaction, unless the effect
// of the message has happened: its commit succeeded and the reply was lost, or
// another delivery was faster.
func (d *Dispatcher) record(ctx context.Context, v Delivery, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	err := postgres.InTx(ctx, d.queue.db, func(tx pgx.Tx) error {
		if err := v.settle(ctx, tx); err != nil {
			return err
		}
		var done bool
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM queue_inbox WHERE message = $1 AND "group" = $2)`, v.Message.ID, v.Group).Scan(&done)
		if err != nil || done {
			return err
		}
		return fn(ctx, tx)
	})
	if err != nil && !errors.Is(err, ErrInterrupted) {
		return fmt.Errorf("record the outcome of a delivery: %w", err)
	}
	return err
}

// settle calls Settle.
func (v *Delivery) settle(ctx context.Context, tx pgx.Tx) error {
	if v.Settle == nil {
		return nil
	}
	return v.Settle(ctx, tx)
}

// attributes are those of log records about a delivery. Payloads aren't logged.
func attributes(v Delivery, more ...slog.Attr) []any {
	list := []any{
		slog.String("group", v.Group), slog.String("topic", v.Message.Topic), slog.String("message", v.Message.ID),
		slog.String("key", v.Message.Key), slog.Int("attempt", v.Message.Attempt),
	}
	for _, a := range more {
		list = append(list, a)
	}
	return list
}
