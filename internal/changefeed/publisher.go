package changefeed

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/models"
)

// channel is the NOTIFY channel of changes.
const channel = "ratelimiter_changes"

// Bounds of the publisher.
const (
	// debounce collects changes into one notification. NOTIFY takes a lock of
	// the whole cluster at commit, which is then taken once per batch.
	debounce = 10 * time.Millisecond
	// maxPending bounds the waiting changes, of about 100 bytes each.
	maxPending = 10_000
	// maxPayload is in bytes. Postgres accepts payloads below 8,000.
	maxPayload = 7_500
	// notifyTimeout bounds one NOTIFY. The watchers of other instances don't
	// wait longer than pollInterval anyway.
	notifyTimeout = 2 * time.Second
)

// Publisher notifies the other instances of committed changes with NOTIFY, in
// the background. What it can't send in time it drops: the change log has it,
// and every instance reads that every pollInterval. It is safe for concurrent
// use.
type Publisher struct {
	db  *pgxpool.Pool
	log *slog.Logger

	mu      sync.Mutex
	pending map[models.ChangeEvent]struct{}
	stopped bool
	wake    chan struct{} // capacity 1; closed by Stop
	ended   chan struct{}
}

// NewPublisher returns a Publisher that sends through db. Events before Start
// are sent once it has started.
func NewPublisher(db *pgxpool.Pool, log *slog.Logger) *Publisher {
	return &Publisher{
		db: db, log: log, pending: map[models.ChangeEvent]struct{}{},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// Name returns "change publisher".
func (*Publisher) Name() string { return "change publisher" }

// Start begins to send.
func (p *Publisher) Start(context.Context) error {
	go p.run()
	return nil
}

// Publish queues an event. It never blocks.
func (p *Publisher) Publish(event models.ChangeEvent) {
	if event.ID == "" || len(event.ID) > maxPayload/2 || strings.ContainsFunc(event.ID, unicode.IsSpace) {
		return // no id looks like this, and the payload could not carry it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || len(p.pending) >= maxPending {
		return
	}
	p.pending[event] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default: // awake already
	}
}

// Stop sends what is pending, within notifyTimeout, and ends.
func (p *Publisher) Stop(context.Context) error {
	p.mu.Lock()
	if !p.stopped {
		p.stopped = true
		close(p.wake)
	}
	p.mu.Unlock()
	<-p.ended
	return nil
}

func (p *Publisher) run() {
	defer close(p.ended)
	for range p.wake {
		p.linger()
		p.flush()
	}
	p.flush()
}

// linger waits for the rest of a batch, or until the publisher stops.
func (p *Publisher) linger() {
	timer := time.NewTimer(debounce)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake: // stopped, or another event: the next batch has the rest
	}
}

// flush sends the pending events.
func (p *Publisher) flush() {
	p.mu.Lock()
	events := p.pending
	p.pending = map[models.ChangeEvent]struct{}{}
	p.mu.Unlock()
	if len(events) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	if _, err := p.db.Exec(ctx, `SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload`, channel, payloads(events)); err != nil {
		p.log.Warn("change notification failed; other instances read the change log", "changes", len(events), "error", err)
	}
}

// Nudge makes every instance read the change log now. It is for processes that
// make changes and end, such as the command line. If it fails, the instances
// read the log within pollInterval.
func Nudge(ctx context.Context, db *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	_, _ = db.Exec(ctx, `SELECT pg_notify($1, '')`, channel)
}

// payloads encodes events as lines, in as few payloads as possible.
func payloads(events map[models.ChangeEvent]struct{}) []string {
	var all []string
	var b strings.Builder
	for e := range events {
		line := string(e.Kind) + " " + e.ID + " " + strconv.FormatInt(e.Version, 10) + "\n"
		if b.Len()+len(line) > maxPayload {
			all = append(all, b.String())
			b.Reset()
		}
		b.WriteString(line)
	}
	return append(all, b.String())
}

// parsePayload decodes what payloads encoded. Other users of the database can
// send anything: lines that aren't events are skipped.
func parsePayload(payload string) []models.ChangeEvent {
	var events []models.ChangeEvent
	for line := range strings.Lines(payload) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		version, err := strconv.ParseInt(fields[2], 10, 64)
		if err == nil {
			events = append(events, models.ChangeEvent{Kind: models.ChangeKind(fields[0]), ID: fields[1], Version: version})
		}
	}
	return events
}
