package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"
)

const (
	// relayed is how many messages of a group an instance publishes at once: most
	// of the time is the wait for the confirmation.
	relayed = 50
	// publishTimeout bounds one confirmation. It is shorter than a delivery, whose
	// job publishes.
	publishTimeout = 3 * time.Second
	// prepareTimeout bounds connecting to the broker.
	prepareTimeout = 5 * time.Second
	// minReconnect and maxReconnect bound the random time between two attempts to
	// reach the broker, and the time that a message waits which it didn't take.
	minReconnect = time.Second
	maxReconnect = 3 * time.Second
	// faultAge is how long a fault is reported after it was last met: it is met again
	// within seconds, unless another instance has published the message since.
	faultAge = 30 * time.Second
	// holdLimit bounds how long a message is held whose outcome can't be recorded,
	// because Postgres is down. It is shorter than a broker waits for an
	// acknowledgement.
	holdLimit = 5 * time.Minute
	// holdPause is the time between two attempts to record an outcome.
	holdPause = time.Second
)

// relay publishes due messages to a broker and consumes them there.
type relay struct {
	worker    *Worker
	transport Transport
	groups    []string // with handlers on this instance, sorted

	consuming  context.Context // done: no more messages are taken
	cease      context.CancelFunc
	delivering context.Context // done: deliveries are interrupted
	interrupt  context.CancelFunc
	consumers  sync.WaitGroup

	mu     sync.Mutex
	faults [2]fault // of publishing and of consuming, of which one may work without the other
}

// fault is why the broker can't be used; no err: it can, as far as known.
type fault struct {
	err error
	at  time.Time // when it was last met
}

// Indexes of relay.faults.
const (
	publishing = iota
	consuming
)

func newRelay(w *Worker, t Transport) *relay {
	r := &relay{worker: w, transport: t, groups: slices.Sorted(maps.Keys(w.dispatcher.handlers))}
	r.consuming, r.cease = context.WithCancel(context.Background())
	r.delivering, r.interrupt = context.WithCancel(context.Background())
	return r
}

// start begins to consume.
func (r *relay) start() {
	for _, group := range r.groups {
		r.consumers.Go(func() { r.consume(group) })
	}
}

// prepare prepares the transport.
func (r *relay) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	return r.transport.Prepare(ctx, r.groups)
}

// broken returns why the broker can't be used, or nil.
func (r *relay) broken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current()
}

// current is broken for callers that hold mu.
func (r *relay) current() error {
	for _, f := range r.faults {
		if f.err != nil && time.Since(f.at) <= faultAge {
			return f.err
		}
	}
	return nil
}

// TransportFault returns why the broker of the Transport can't be used, as far as this
// instance knows, or nil.
func (w *Worker) TransportFault() error {
	if w.relay == nil {
		return nil
	}
	return w.relay.broken()
}

// setFault notes whether the broker can be used for publishing or consuming, and logs
// a change.
func (r *relay) setFault(of int, err error) {
	r.mu.Lock()
	before := r.current()
	r.faults[of] = fault{err, time.Now()}
	err = r.current()
	r.mu.Unlock()
	switch log := r.worker.queue.log; {
	case err != nil && before == nil:
		log.Warn("queue: the broker can't be used; messages wait in Postgres", slog.String("error", err.Error()))
	case err == nil && before != nil:
		log.Info("queue: the broker can be used again")
	}
}

// stop ends the consumers. It waits for deliveries under way, and interrupts them
// after some seconds, which counts no attempt.
func (r *relay) stop() {
	r.cease()
	timer := time.AfterFunc(softStopTimeout, r.interrupt)
	r.consumers.Wait()
	timer.Stop()
	r.interrupt()
}

// publish is the work of a job: it hands the message to the broker. A broker that
// doesn't take it costs no attempt.
func (r *relay) publish(ctx context.Context, v Delivery) error {
	if r.worker.queue.gate.isPaused(v.Group) {
		return river.JobSnooze(pausedDelay)
	}
	if v.Message.Attempt >= r.worker.cfg.Retry.MaxAttempts {
		return result(r.worker.dispatcher.bury(ctx, v, errNoOutcome))
	}
	body, err := json.Marshal(v.Message)
	if err != nil {
		return result(err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := r.transport.Publish(ctx, v.Group, Outgoing{ID: v.Message.ID, Key: v.Message.Key, Body: body}); err != nil {
		if r.consuming.Err() == nil {
			r.setFault(publishing, err)
		}
		return river.JobSnooze(reconnectDelay())
	}
	r.setFault(publishing, nil)
	return nil
}

func reconnectDelay() time.Duration { return minReconnect + rand.N(maxReconnect-minReconnect) }

// consume consumes one group until stop.
func (r *relay) consume(group string) {
	for err := r.broken(); ; err = r.prepare(r.consuming) {
		if err == nil {
			r.setFault(consuming, nil)
			err = r.transport.Consume(r.consuming, group, r.worker.cfg.Concurrency, func(in Incoming) error { return r.receive(group, in) })
		}
		if r.consuming.Err() != nil {
			return
		}
		r.setFault(consuming, err)
		r.pause(reconnectDelay())
	}
}

// pause waits, or until stop.
func (r *relay) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.consuming.Done():
	}
}

// receive delivers a message of the broker. It returns nil when the outcome is
// committed. While that fails, because Postgres is down, it holds the message.
func (r *relay) receive(group string, in Incoming) error {
	for began := time.Now(); ; r.pause(holdPause) {
		err := r.receiveOnce(group, in)
		if err == nil || r.consuming.Err() != nil || time.Since(began) > holdLimit {
			return err
		}
		r.worker.queue.log.Warn("queue: the outcome of a delivery can't be recorded, trying again", slog.String("group", group), slog.String("error", err.Error()))
	}
}

// receiveOnce is receive without trying again.
func (r *relay) receiveOnce(group string, in Incoming) error {
	d := r.worker.dispatcher
	ctx, cancel := context.WithTimeout(r.delivering, deliveryTimeout)
	defer cancel()
	args := deliveryArgs{raw: in.Body}
	m, err := args.decode()
	if err == nil && !storable(in.Body) {
		err = errNotStorable
	}
	if err != nil {
		return d.setAside(ctx, Delivery{Group: group}, reasonOf(fmt.Errorf("decode the message: %w", err)), asJSON(in.Body))
	}
	v := Delivery{Group: group, Message: m}
	v.Message.Attempt++
	switch {
	case in.Redelivered:
		return d.lost(ctx, v)
	case r.consuming.Err() != nil: // it was taken, but nothing has begun
		err = ErrInterrupted
	default:
		err = r.worker.deliver(ctx, v)
	}
	if errors.Is(err, ErrInterrupted) {
		v.Message = m
		return d.putBack(ctx, v)
	}
	return err
}

// errNotStorable reports a message with a character that Postgres can't store in JSON.
var errNotStorable = errors.New("the message contains the character U+0000")

// storable reports whether Postgres can store JSON: it contains no escaped NUL.
func storable(body []byte) bool {
	for rest := body; ; {
		i := bytes.Index(rest, []byte(`\u0000`))
		if i < 0 {
			return true
		}
		before := len(rest[:i]) - len(bytes.TrimRight(rest[:i], `\`))
		if before%2 == 0 { // the backslash isn't escaped itself
			return false
		}
		rest = rest[i+1:]
	}
}

// asJSON returns a body that may not be JSON as JSON that Postgres can store.
func asJSON(body []byte) json.RawMessage {
	if json.Valid(body) && storable(body) {
		return body
	}
	text := strings.ReplaceAll(strings.ToValidUTF8(string(body), "?"), "\x00", "?")
	encoded, _ := json.Marshal(text) // a string can always be encoded
	return encoded
}
