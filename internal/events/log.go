package events

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/cursor"
	"ratelimiter/models"
)

// Snapshot returns an owner's order as it is now, or models.ErrNotFound.
type Snapshot func(ctx context.Context, owner, id string) (models.Order, error)

// Log reads events and waits for them. It is safe for concurrent use.
type Log struct {
	db        *pgxpool.Pool
	hub       *Hub
	log       *slog.Logger
	snapshot  Snapshot
	cursors   cursors
	feedQuery string
	reads     atomic.Int64 // queries for events
	epoch     atomic.Int64 // as of the last poll
	unknown   atomic.Bool  // the database's history couldn't be read, which was logged
	lag       lag
	follower  follower
}

// Config is what a Log needs besides its database.
type Config struct {
	Log      *slog.Logger
	Secret   []byte // signs cursors
	Snapshot Snapshot
}

// NewLog returns the log in db. Who waits is woken by hub. Unless it is started,
// changes by other instances and events of feeds that are held up wake nobody.
func NewLog(db *pgxpool.Pool, hub *Hub, cfg Config) *Log {
	return &Log{
		db: db, hub: hub, log: cfg.Log, snapshot: cfg.Snapshot, cursors: cursors{cursor.NewSigner(cfg.Secret)}, feedQuery: feedQuery,
		lag: lag{log: cfg.Log}, follower: follower{catchUp: make(chan struct{}, 1)},
	}
}

// Query selects events of a stream.
type Query = models.EventQuery

// Wait returns the events of a stream after a cursor, at least one unless the
// timeout passes without any. A timeout of 0 never blocks. Errors:
// models.ErrNotFound for an order that the owner doesn't have, models.KindInvalid
// for a cursor of another stream, *models.CursorExpiredError, models.ErrUnavailable,
// and ctx's.
func (l *Log) Wait(ctx context.Context, s Stream, q Query, timeout time.Duration) (models.EventPage, error) {
	at, err := l.cursors.decode(s, q.After)
	if err != nil {
		return models.EventPage{}, err
	}
	if timeout <= 0 {
		return l.collect(ctx, s, at, q, nil)
	}
	t, leave := l.hub.watch(s)
	defer leave()
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reading := ctx // the first read may take longer than the timeout
	var page models.EventPage
	for {
		woken := t.next() // before the read: what it doesn't see wakes
		next, err := l.collect(reading, s, at, q, t)
		if err != nil && reading.Err() != nil && ctx.Err() == nil {
			return page, nil // the timeout has passed
		}
		if err != nil || len(next.Data) > 0 {
			return next, err
		}
		page = next
		if at, err = l.cursors.decode(s, page.NextCursor); err != nil {
			return models.EventPage{}, err
		}
		reading = waiting
		select {
		case <-woken:
		case <-waiting.Done():
			return page, ctx.Err()
		}
	}
}

// collect returns the next events of q's types, without waiting. t is the stream's
// topic; nil: it is read from the log only.
func (l *Log) collect(ctx context.Context, s Stream, at bookmark, q Query, t *topic) (models.EventPage, error) {
	page := models.EventPage{Data: []models.Event{}}
	for {
		var b batch
		var err error
		if t == nil {
			b, err = l.read(ctx, s, at, q.Types, q.Limit)
		} else {
			b, err = l.readTopic(ctx, t, at, q.Types, q.Limit)
		}
		if err != nil {
			return models.EventPage{}, err
		}
		if b.expired {
			return models.EventPage{}, l.expired(ctx, s)
		}
		for i, e := range b.entries {
			if len(q.Types) > 0 && !slices.Contains(q.Types, e.event.Type) {
				continue
			}
			e.event.Cursor = l.cursors.encode(s, bookmark{b.epoch, e.position})
			page.Data = append(page.Data, e.event)
			if len(page.Data) == q.Limit && (i+1 < len(b.entries) || b.more) {
				page.NextCursor = e.event.Cursor
				return page, nil
			}
		}
		at = bookmark{b.epoch, b.end}
		if b.more && len(page.Data) < q.Limit {
			continue
		}
		switch {
		case len(page.Data) == 0 || len(q.Types) > 0: // what was skipped needn't be read again, and may be deleted
			page.NextCursor = l.cursors.encode(s, at)
		default:
			page.NextCursor = page.Data[len(page.Data)-1].Cursor
		}
		return page, nil
	}
}

// expired returns the error of a cursor from which a stream can't be continued.
func (l *Log) expired(ctx context.Context, s Stream) error {
	end, err := l.end(ctx, s)
	if err != nil {
		return err
	}
	e := &models.CursorExpiredError{NextCursor: l.cursors.encode(s, end)}
	if s.Order == "" {
		return e
	}
	// Read after the end, so that it includes what happened before.
	order, err := l.snapshot(ctx, s.Owner, s.Order)
	if err != nil {
		return err
	}
	e.Order = &order
	return e
}
