package handlers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ratelimiter/models"
)

// StreamService counts the open event streams and ends them.
type StreamService interface {
	// Open opens a stream of the request that ctx belongs to; it ends with ctx, and
	// when the request's key can't be used any more or loses scope. Errors:
	// KindOverloaded, models.ErrUnavailable.
	Open(ctx context.Context, scope models.Scope) (*models.Stream, error)
}

// EventStreams serves the events of /v1/orders and /v1/events as streams.
type EventStreams struct {
	log     EventLog
	streams StreamService
	origins []string // whose pages may open WebSockets, in addition to the server's own; "*": all
}

// NewEventStreams returns the handlers of streams. Pages of origins, such as
// https://shop.example, may open WebSockets, in addition to the server's own; "*":
// all.
func NewEventStreams(log EventLog, streams StreamService, origins []string) *EventStreams {
	return &EventStreams{log: log, streams: streams, origins: origins}
}

// openStream opens a stream and reads its first page, which may be empty. ctx is
// the request's, or one that outlives it.
func (h *EventStreams) openStream(ctx context.Context, in *followed) (*models.Stream, models.EventPage, error) {
	in.query.Limit = streamBatch
	st, err := h.streams.Open(ctx, models.ScopeOrdersRead)
	if err != nil {
		return nil, models.EventPage{}, err
	}
	failure := error(models.StreamFailed) // of a panic
	defer func() {
		if failure != nil {
			st.Close(failure)
		}
	}()
	page, err := h.log.Wait(st, in.stream, in.query, 0)
	if failure = err; err == nil {
		return st, page, nil
	}
	if ctx.Err() == nil && errors.Is(err, context.Canceled) { // the stream had to end
		err = models.ErrUnavailable
	}
	return nil, page, err
}

// Bounds of streams.
const (
	// streamBatch is how many events a stream reads at once.
	streamBatch = 100
	// streamWriteTimeout is how long one write may take: a client that reads too slowly
	// is disconnected, and can go on from its last event.
	streamWriteTimeout = 10 * time.Second
	// streamRetryPause is the average pause after a failed read of events.
	streamRetryPause = 2 * time.Second
)

// eventSink sends events to one client. Errors are a models.StreamEnd, or another
// one if the client is gone.
type eventSink interface {
	send(events []models.Event) error
	// idle keeps the connection alive. It is called after idleTime without events.
	idle() error
	idleTime() time.Duration
}

// follow sends events from the first page on, until the stream ends, and returns
// why.
func (h *EventStreams) follow(st *models.Stream, in followed, page models.EventPage, to eventSink) (reason error) {
	for {
		if len(page.Data) > 0 {
			reason = to.send(page.Data)
		} else {
			reason = to.idle()
		}
		in.query.After = page.NextCursor
		if reason == nil {
			page, reason = h.next(st, in, to.idleTime())
		}
		_, known := errors.AsType[models.StreamEnd](reason)
		switch { // net/http also cancels the request of a slow reader
		case !known && st.Err() != nil:
			return context.Cause(st)
		case reason != nil:
			return reason
		}
	}
}

// next waits for the next page; it is empty if timeout passes without events. While
// Postgres can't be read, it tries again. Errors: a models.StreamEnd, ctx's.
func (h *EventStreams) next(ctx context.Context, in followed, timeout time.Duration) (models.EventPage, error) {
	for deadline := time.Now().Add(timeout); ; {
		page, err := h.log.Wait(ctx, in.stream, in.query, max(time.Until(deadline), time.Millisecond))
		switch _, expired := errors.AsType[*models.CursorExpiredError](err); {
		case err == nil || ctx.Err() != nil:
			return page, err
		case expired:
			return page, models.StreamCursorExpired
		case !errors.Is(err, models.ErrUnavailable):
			return page, fmt.Errorf("%w: %w", models.StreamFailed, err)
		case time.Now().After(deadline):
			return models.EventPage{NextCursor: in.query.After}, nil
		}
		pause := time.NewTimer(streamRetryPause/2 + rand.N(streamRetryPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return page, ctx.Err()
		}
	}
}

// followed is a stream of events and where to begin.
type followed struct {
	stream models.EventStream
	query  models.EventQuery
}
