package quota

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Times of the watcher. A change whose notification is heard is in force some
// debounce after its commit; one that isn't, pollEvery after at most; and while
// the connection is silently gone, the time until that is noticed (pingEvery
// and the ping's own second) and a new one is made comes on top.
const (
	pollEvery  = 3 * time.Second
	pingEvery  = time.Second
	pruneEvery = time.Minute

	minReconnectPause = 50 * time.Millisecond
	maxReconnectPause = time.Second
)

// Watcher learns what was changed by whomever, and makes this instance forget
// it: it reads the log of changes, every pollEvery and as soon as a notification
// says that there is something new, and after every reconnect. All this is on a
// connection of its own, so that an exhausted pool holds nothing up.
type Watcher struct {
	db     *pgxpool.Pool // says where to connect
	log    *slog.Logger
	quotas *Service
	checks *Checks
	calm   *Calm

	changes   *changeLog
	nextPrune time.Time

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// NewWatcher returns a Watcher that connects as db does and tells quotas,
// checks and calm what it learns.
func NewWatcher(db *pgxpool.Pool, log *slog.Logger, quotas *Service, checks *Checks, calm *Calm) *Watcher {
	return &Watcher{
		db: db, log: log, quotas: quotas, checks: checks, calm: calm, changes: newChangeLog(),
		// Not all instances at once.
		nextPrune: time.Now().Add(rand.N(pruneEvery)),
	}
}

// Start begins to watch, until Close. When it returns nil, everything that was
// changed before it was called is in force, the mode included. Errors: those of
// connecting and reading.
func (w *Watcher) Start(ctx context.Context) error {
	listening, err := postgres.Listen(ctx, w.db, changesChannel)
	if err != nil {
		return failure("watch for changes", err)
	}
	if err := w.read(ctx, listening); err != nil {
		listening.Close()
		return failure("watch for changes", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	w.ended.Go(func() { w.run(running, listening) })
	return nil
}

// Close ends the watch.
func (w *Watcher) Close() {
	if w.cancel != nil {
		w.cancel()
	}
	w.ended.Wait()
}

// run watches on one connection after the other.
func (w *Watcher) run(ctx context.Context, listening *postgres.Listener) {
	for {
		err := w.watch(ctx, listening)
		listening.Close()
		if ctx.Err() != nil {
			return
		}
		lostAt := time.Now()
		w.log.Warn("the connection that hears of changes was lost", "error", err)
		if listening = w.reconnect(ctx); listening == nil {
			return
		}
		w.log.Info("changes are heard again", "after", time.Since(lostAt).String())
	}
}

// reconnect listens first and catches up then, so that nothing falls between
// the two. It tries until that works; nil: ctx has ended.
func (w *Watcher) reconnect(ctx context.Context) *postgres.Listener {
	for pause := minReconnectPause; ; pause = min(2*pause, maxReconnectPause) {
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		listening, err := postgres.Listen(ctx, w.db, changesChannel)
		if err == nil {
			if err = w.read(ctx, listening); err == nil {
				return listening
			}
			listening.Close()
		}
		w.log.Debug("changes can't be heard yet", "error", err)
	}
}

// watch reads the log whenever there is a reason to, until the connection
// fails.
func (w *Watcher) watch(ctx context.Context, listening *postgres.Listener) error {
	nextRead := time.Now().Add(pollEvery)
	for {
		payload, heard, err := listening.Wait(ctx, min(pingEvery, time.Until(nextRead)))
		if err != nil {
			return err
		}
		switch now := time.Now(); {
		case heard && w.changes.isNews(payload), !now.Before(nextRead):
			err = w.read(ctx, listening)
			nextRead = now.Add(pollEvery)
		case !heard:
			err = listening.Ping(ctx)
		}
		if err == nil && time.Now().After(w.nextPrune) {
			err = w.prune(ctx, listening)
		}
		if err != nil {
			return err
		}
	}
}

// read reads the log and puts in force what it says.
func (w *Watcher) read(ctx context.Context, listening *postgres.Listener) error {
	found, err := w.changes.read(ctx, listening.Conn())
	if err != nil {
		return err
	}
	w.calm.apply(found.mode, found.version, found.restored)
	if found.everything {
		w.quotas.InvalidateAll()
		w.checks.InvalidateAll()
		return nil
	}
	for _, c := range found.changes {
		switch c.kind {
		case models.ChangedKey:
			w.quotas.Invalidate(c.id)
		case models.ChangedPlan:
			w.quotas.InvalidatePlan(c.id)
			w.checks.InvalidatePlan(c.id)
		case models.ChangedMode: // applied above
		}
	}
	return nil
}

// prune removes old changes from the log; what it doesn't come to waits.
func (w *Watcher) prune(ctx context.Context, listening *postgres.Listener) error {
	more, err := prune(ctx, listening.Conn())
	if w.nextPrune = time.Now().Add(pruneEvery); more {
		w.nextPrune = time.Now().Add(pingEvery)
	}
	return err
}
