package changefeed

import (
	"context"
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
// background. A notification has no content: the instances read the change log
// then, which they also do every pollInterval. Publisher is safe for concurrent
// use.
type Publisher struct {
	db  *pgxpool.Pool
	log *slog.Logger

	mu      sync.Mutex
	stopped bool
	changed chan struct{} // capacity 1; closed by Stop
	ended   chan struct{}
}

// NewPublisher returns a Publisher that sends through db. Changes before Start
// are sent once it has started.
func NewPublisher(db *pgxpool.Pool, log *slog.Logger) *Publisher {
	return &Publisher{db: db, log: log, changed: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Name returns "change publisher".
func (*Publisher) Name() string { return "change publisher" }

// Start begins to send.
func (p *Publisher) Start(ctx context.Context) error {
	go p.run(context.WithoutCancel(ctx))
	return nil
}

// Publish has all instances notified of a change. It never blocks.
func (p *Publisher) Publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
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
		if err := notify(ctx, p.db); err != nil {
			p.log.Warn("change notification failed; other instances read the change log", "error", err)
		}
	}
}

// Nudge makes every instance read the change log now. It is for processes that
// make changes and end, such as the command line. If it fails, the instances
// read the log within pollInterval.
func Nudge(ctx context.Context, db *pgxpool.Pool) { _ = notify(ctx, db) }

func notify(ctx context.Context, db *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	_, err := db.Exec(ctx, `SELECT pg_notify($1, '')`, channel)
	return err
}
