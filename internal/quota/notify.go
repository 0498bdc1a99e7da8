package quota

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

// changesChannel is where instances tell each other of changes.
const changesChannel = "ratelimiter_changes"

// Bounds of the notifier.
const (
	// debounce is how long a change waits for others to be told with it. NOTIFY
	// takes a lock of the whole cluster at commit: one a batch, not one a change.
	debounce = 10 * time.Millisecond
	// maxPending is how many changes wait at most; each takes some 100 bytes.
	maxPending = 10_000
	// maxPayload is in bytes; Postgres takes payloads below 8,000.
	maxPayload = 7_500
	// notifyTimeout bounds the telling of one batch. Readers of the log don't
	// wait for longer than pollEvery anyway.
	notifyTimeout = 2 * time.Second
)

// Notifier tells every instance of committed changes, by kind, id and version,
// with NOTIFY, in the background. What it can't tell in time it drops: the log
// has it, and every instance reads that within pollEvery.
type Notifier struct {
	db  *pgxpool.Pool
	log *slog.Logger

	mu      sync.Mutex
	pending map[change]struct{}
	closed  bool
	wake    chan struct{} // has room for one; closed by Close
	ended   chan struct{}
}

// change is one change of a key, a plan or the mode, as the log and the
// notifications name it.
type change struct {
	kind    models.ChangeKind
	id      string
	version int64
}

var _ models.Announcer = (*Notifier)(nil)

// NewNotifier returns a Notifier that sends by db. Close it when its owner
// ends, and before db.
func NewNotifier(db *pgxpool.Pool, log *slog.Logger) *Notifier {
	n := &Notifier{
		db: db, log: log, pending: map[change]struct{}{},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	go n.run()
	return n
}

// Changed has every instance told soon. It never blocks.
func (n *Notifier) Changed(_ context.Context, kind models.ChangeKind, id string, version int64) {
	if id == "" || len(id) > maxPayload/2 || strings.ContainsFunc(id, unicode.IsSpace) {
		return // no id is so; the payload could not carry it
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.pending) >= maxPending {
		return
	}
	n.pending[change{kind, id, version}] = struct{}{}
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
}

// Close tells what is still to be told, for notifyTimeout at most, and ends.
func (n *Notifier) Close() {
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.wake)
	}
	n.mu.Unlock()
	<-n.ended
}

func (n *Notifier) run() {
	defer close(n.ended)
	for range n.wake {
		n.linger()
		n.flush()
	}
	n.flush()
}

// linger waits for changes that come together, unless it is time to end.
func (n *Notifier) linger() {
	timer := time.NewTimer(debounce)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.wake: // closed, or another change: the rest of it will be told with the next batch
	}
}

// flush tells what is pending.
func (n *Notifier) flush() {
	n.mu.Lock()
	changed := n.pending
	n.pending = map[change]struct{}{}
	n.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	if _, err := n.db.Exec(ctx, `SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload`, changesChannel, payloads(changed)); err != nil {
		n.log.Warn("other instances were not told of changes; they read them from the log", "changes", len(changed), "error", err)
	}
}

// Nudge has every instance read the log of changes now: for those who make
// changes and end, as the command line does. When it fails, they read it within
// pollEvery anyway.
func Nudge(ctx context.Context, db *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	_, _ = db.Exec(ctx, `SELECT pg_notify($1, '')`, changesChannel)
}

// payloads writes changes as lines, in as few payloads as they fit into.
func payloads(changed map[change]struct{}) []string {
	var all []string
	var b strings.Builder
	for c := range changed {
		line := string(c.kind) + " " + c.id + " " + strconv.FormatInt(c.version, 10) + "\n"
		if b.Len()+len(line) > maxPayload {
			all = append(all, b.String())
			b.Reset()
		}
		b.WriteString(line)
	}
	return append(all, b.String())
}

// parsePayload reads what payloads wrote. Whoever can connect to the database
// can send others: what isn't a change is left out.
func parsePayload(payload string) []change {
	var changed []change
	for line := range strings.Lines(payload) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		version, err := strconv.ParseInt(fields[2], 10, 64)
		if err == nil {
			changed = append(changed, change{models.ChangeKind(fields[0]), fields[1], version})
		}
	}
	return changed
}
