package changefeed

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
)

// Times of the watcher. A change is in force about debounce after its commit
// when its notification arrives, and after pollInterval at most when it
// doesn't. A connection that is silently lost adds the time until that is
// noticed (pingInterval and the ping's own second) and the reconnect.
const (
	pollInterval = 3 * time.Second
	pingInterval = time.Second

	// currentFor is how long after a read the feed counts as current: until the
	// next read has failed.
	currentFor = 2 * pollInterval

	minReconnectPause = 50 * time.Millisecond
	maxReconnectPause = time.Second
)

// Bound is the published bound within which a change is in force on every
// instance whose notifications arrive.
const Bound = 2 * time.Second

// Mode caches the global enforcement mode.
type Mode interface {
	// Apply caches the mode unless a later version is cached; forced caches it
	// regardless.
	Apply(mode string, version int64, forced bool)
}

// Watcher applies changes that any instance made: it reads the change log every
// pollInterval, whenever a notification arrives, and after every reconnect. It
// has its own connection, so that an exhausted pool doesn't delay it.
type Watcher struct {
	db          *pgxpool.Pool // where to connect
	log         *slog.Logger
	mode        Mode
	own         string // name of this instance's notifications of events
	waker       Waker
	subscribers []Subscriber
	changes     *changeLog
	readAt      atomic.Pointer[time.Time] // start of the last successful read
	connected   atomic.Bool
	lost        atomic.Int64 // connections

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// NewWatcher returns a Watcher that connects as db does. It keeps mode and the
// subscribers current, and wakes those who wait for events of other instances than
// the publisher's own.
func NewWatcher(db *pgxpool.Pool, log *slog.Logger, mode Mode, own *Publisher, waker Waker, subscribers ...Subscriber) *Watcher {
	return &Watcher{db: db, log: log, mode: mode, own: own.name, waker: waker, subscribers: subscribers, changes: newChangeLog()}
}

// Name returns "change watcher".
func (*Watcher) Name() string { return "change watcher" }

// Start connects, reads the log and then watches until Stop. When it returns
// nil, everything that was changed before it was called is in force. Errors:
// models.ErrUnavailable.
func (w *Watcher) Start(ctx context.Context) error {
	conn, err := w.connect(ctx)
	if err != nil {
		return postgres.Classify("watch changes", err)
	}
	if conn.Polling() {
		w.log.Warn("no notifications of changes through a connection pooler: a change is in force on the other instances within 10 s; " +
			"set DATABASE_LISTEN_URL to the URL of a direct connection to have it in force within 2 s")
	}
	w.connected.Store(true)
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.ended.Go(func() { w.run(ctx, conn) })
	return nil
}

// Stop ends the watch.
func (w *Watcher) Stop(context.Context) error {
	w.cancel()
	w.ended.Wait()
	return nil
}

// connect listens first and reads the logs then, so that no change falls between
// the two.
func (w *Watcher) connect(ctx context.Context) (*postgres.Listener, error) {
	conn, err := postgres.Listen(ctx, w.db, channel, eventChannel)
	if err != nil {
		return nil, err
	}
	w.waker.CatchUp()
	if err := w.read(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// run watches on one connection after another.
func (w *Watcher) run(ctx context.Context, conn *postgres.Listener) {
	for {
		err := w.watch(ctx, conn)
		w.connected.Store(false)
		conn.Close()
		if ctx.Err() != nil {
			return
		}
		w.lost.Add(1)
		lostAt := time.Now()
		w.log.Warn("change listener lost its connection", "error", err)
		if conn = w.reconnect(ctx); conn == nil {
			return
		}
		w.connected.Store(true)
		w.log.Info("change listener reconnected", "after", time.Since(lostAt).String())
	}
}

// reconnect tries to connect until it succeeds. It returns nil when ctx ends.
func (w *Watcher) reconnect(ctx context.Context) *postgres.Listener {
	for pause := minReconnectPause; ; pause = min(2*pause, maxReconnectPause) {
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		conn, err := w.connect(ctx)
		if err == nil {
			return conn
		}
		w.log.Debug("change listener reconnect failed", "error", err)
	}
}

// watch reads the log when notified and at intervals, until the connection
// fails.
func (w *Watcher) watch(ctx context.Context, conn *postgres.Listener) error {
	nextRead := time.Now().Add(pollInterval)
	for {
		news, notified, err := conn.Wait(ctx, min(pingInterval, time.Until(nextRead)))
		if err != nil {
			return err
		}
		ofEvents := notified && news.Channel == eventChannel
		if ofEvents {
			wake(w.waker, w.own, news.Payload)
		}
		switch now := time.Now(); {
		case notified && !ofEvents, !now.Before(nextRead):
			err = w.read(ctx, conn)
			nextRead = now.Add(pollInterval)
		case !notified:
			err = conn.Ping(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// read reads the log and applies what it finds.
func (w *Watcher) read(ctx context.Context, conn *postgres.Listener) error {
	began := time.Now()
	found, err := w.changes.read(ctx, conn.Conn())
	if err != nil {
		return err
	}
	w.mode.Apply(found.mode, found.version, found.restored)
	for _, s := range w.subscribers {
		if found.all {
			s.InvalidateAll()
			continue
		}
		for _, e := range found.events {
			s.Invalidate(e)
		}
	}
	w.readAt.Store(&began)
	return nil
}

// Current reports whether the subscribers have heard of all changes except those
// of the last moments.
func (w *Watcher) Current() bool {
	readAt := w.readAt.Load()
	return readAt != nil && time.Since(*readAt) < currentFor
}

// LastRead returns when the last successful read of the log began; zero before
// the first one.
func (w *Watcher) LastRead() time.Time {
	if readAt := w.readAt.Load(); readAt != nil {
		return *readAt
	}
	return time.Time{}
}

// Connected reports whether the listener has a connection.
func (w *Watcher) Connected() bool { return w.connected.Load() }

// Disconnects returns how often the listener lost its connection.
func (w *Watcher) Disconnects() int64 { return w.lost.Load() }
