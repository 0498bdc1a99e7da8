package changefeed

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// channel is the NOTIFY channel of changes.
const channel = "ratelimiter_changes"

const (
	// debounce collects changes into one notification. NOTIFY takes a lock of
	// the whole cluster at commit, which is then taken once per batch.
	debounce = 10 * time.Millisecond
	// notifyTimeout bounds one NOTIFY. The watchers of other instances don't
	// wait longer than pollInterval anyway.
	notifyTimeout = 2 * time.Second
)

// Publisher notifies all instances of committed changes with NOTIFY, in the
// background. A notification of changes has no content: the instances read the
// change log then, which they also do every pollInterval. One of events names their
// orders. Publisher is safe for concurrent use.
type Publisher struct {
	db   *pgxpool.Pool
	log  *slog.Logger
	name string // of this instance, in notifications of events

	mu      sync.Mutex
	stopped bool
	due     due
	changed chan struct{} // capacity 1; closed by Stop
	ended   chan struct{}
}

// due is what to notify of.
type due struct {
	changes bool
	orders  changedOrders
}

// NewPublisher returns a Publisher that sends through db. Changes before Start
// are sent once it has started.
func NewPublisher(db *pgxpool.Pool, log *slog.Logger) *Publisher {
	p := &Publisher{db: db, log: log, name: rand.Text(), changed: make(chan struct{}, 1), ended: make(chan struct{})}
	p.due.orders.name = p.name
	return p
}

// Name returns "change publisher".
func (*Publisher) Name() string { return "change publisher" }

// Start begins to send.
func (p *Publisher) Start(ctx context.Context) error {
	go p.run(context.WithoutCancel(ctx))
	return nil
}

// Publish has all instances notified of a change. It never blocks.
func (p *Publisher) Publish() { p.publish(func(d *due) { d.changes = true }) }

// PublishEvents has the other instances notified of new events of an order. It never
// blocks.
func (p *Publisher) PublishEvents(owner, order string) {
	p.publish(func(d *due) { d.orders.add(owner, order) })
}

func (p *Publisher) publish(add func(*due)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	add(&p.due)
	select {
	case p.changed <- struct{}{}:
	default: // the notification that is due is for this change too
	}
}

// Stop sends what is pending, within notifyTimeout, and ends.
func (p *Publisher) Stop(context.Context) error {
	p.mu.Lock()
	p.stopped = true
	close(p.changed)
	p.mu.Unlock()
	<-p.ended
	return nil
}

func (p *Publisher) run(ctx context.Context) {
	defer close(p.ended)
	for range p.changed {
		time.Sleep(debounce)
		changes, events := p.take()
		if err := notify(ctx, p.db, changes, events); err != nil {
			p.log.Warn("change notification failed; other instances read the logs", "error", err)
		}
	}
}

// take returns what to notify of, and forgets it.
func (p *Publisher) take() (changes bool, events string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changes, events = p.due.changes, p.due.orders.payload()
	p.due = due{orders: changedOrders{name: p.name}}
	return changes, events
}

// Nudge makes every instance read the change log now. It is for processes that
// make changes and end, such as the command line. If it fails, the instances
// read the log within pollInterval.
func Nudge(ctx context.Context, db *pgxpool.Pool) { _ = notify(ctx, db, true, "") }

// notify sends a notification of changes, one of events, or both; events is the
// latter's payload, or empty without one.
func notify(ctx context.Context, db *pgxpool.Pool, changes bool, events string) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	_, err := db.Exec(ctx, `
		SELECT pg_notify(channel, payload) FROM (VALUES ($1, '', $2::boolean), ($3, $4, $4 <> '')) AS n (channel, payload, due) WHERE due`,
		channel, changes, eventChannel, events)
	return err
}
