package handlers

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/binding"
	"ratelimiter/models"
)

// EventLog reads events and waits for them.
type EventLog interface {
	// Wait returns the events of a stream after a cursor, at least one unless the
	// timeout passes without any; 0: it never blocks. Errors: models.ErrNotFound for an
	// order that the owner doesn't have, KindInvalid for a cursor of another stream,
	// *models.CursorExpiredError, models.ErrUnavailable, ctx's.
	Wait(ctx context.Context, of models.EventStream, q models.EventQuery, timeout time.Duration) (models.EventPage, error)
}

// Events serves the events of /v1/orders and /v1/events.
type Events struct {
	log     EventLog
	streams *EventStreams
	serving context.Context
}

// NewEvents returns the handlers of events. Clients that prefer them get streams. Waits
// end when serving does, because the server drains.
func NewEvents(serving context.Context, log EventLog, streams *EventStreams) *Events {
	return &Events{log: log, streams: streams, serving: serving}
}

// MaxEventWait is the longest that a request waits for events. Many proxies close a
// connection without a response after a minute.
const MaxEventWait = 30 * time.Second

// orderEvents is the input of GET /v1/orders/{id}/events.
type orderEvents struct {
	ID     string `uri:"id"`
	Query  eventFilter
	Wait   eventWait
	Stream eventResume
}

// ownerEvents is the input of GET /v1/events.
type ownerEvents struct {
	Query  eventFilter
	Wait   eventWait
	Stream eventResume
}

// eventFilter selects events of a stream.
type eventFilter struct {
	After string     `form:"after" example:"MS4x"`                                                                                                   // Position to start after: next_cursor of the previous response, or the cursor of an event; empty: the start
	Limit int        `form:"limit" minimum:"1" maximum:"100" default:"20"`                                                                           // Maximum number of events
	Types eventTypes `form:"types" swaggertype:"string" pattern:"^([a-z]+\\.[a-z]+(,[a-z]+\\.[a-z]+)*)?$" example:"order.confirmed,order.cancelled"` // Only events of these types, separated by commas; empty: all
}

// eventWait is how long to wait for events.
type eventWait struct {
	Wait waitTime `form:"wait" swaggertype:"string" pattern:"^[0-9]{1,5}(ms|s)$" default:"0s" example:"10s"` // How long to wait for an event if there is none: up to 30s
}

func (f *eventFilter) toModel() models.EventQuery {
	return models.EventQuery{After: f.After, Types: f.Types, Limit: f.Limit}
}

// eventTypes is a list of types of events, separated by commas.
type eventTypes []models.EventType

// ParseText parses a list of types.
func (t *eventTypes) ParseText(text string) (code, message string) {
	if text == "" {
		return "", ""
	}
	known := models.AllEventTypes()
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(known, models.EventType(name)) {
			var names []string
			for _, k := range known {
				names = append(names, string(k))
			}
			return "enum", "must be a list, separated by commas, of " + strings.Join(names, ", ")
		}
		*t = append(*t, models.EventType(name))
	}
	return "", ""
}

// waitTime is how long a request waits.
type waitTime time.Duration

var waitPattern = regexp.MustCompile(`^[0-9]{1,5}(ms|s)$`)

// ParseText parses an integer with ms or s.
func (w *waitTime) ParseText(text string) (code, message string) {
	if !waitPattern.MatchString(text) {
		return "pattern", "must be an integer with ms or s, such as 10s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d > MaxEventWait {
		return "range", "must be from 0s to 30s"
	}
	*w = waitTime(d)
	return "", ""
}

// OfOrder handles GET /v1/orders/{id}/events.
//
//	@Summary		Get the events of an order
//	@Description	What happened to an order, in its order. To follow it, send next_cursor as after in the next request: no event is lost or repeated.
//	@Description
//	@Description	With wait, a request without new events waits for the next one (long polling). If none comes within at least a second, the response has no events and costs nothing. Events of an order that ended are kept for 30 days.
//	@Description
//	@Description	With Accept text/event-stream the response is a stream of Server-Sent Events: each has its cursor as id, its type as event, and the event as data. A comment follows every 15 seconds without events. limit and wait have no effect. Clients continue with Last-Event-ID, which browsers and libraries send by themselves. [Streams](/guide/following-orders)
//	@Tags			events
//	@ID				listOrderEvents
//	@Produce		json,text/event-stream
//	@Param			id	path		string	true	"Order id"	example(ord_5HqT1bZr8w)
//	@Param			filter	query	eventFilter	false	"Filter"
//	@Param			wait	query	eventWait	false	"Waiting"
//	@Param			stream	header	eventResume	false	"Stream"
//	@Success		200		{object}	models.EventPage
//	@Failure		404		{object}	middleware.Problem
//	@Failure		410		{object}	middleware.CursorProblem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/orders/{id}/events [get]
func (h *Events) OfOrder(c *gin.Context) {
	if in, ok := bindFor(c, orderEvents{}, binding.JSON, eventStreamType); ok {
		h.respond(c, models.EventStream{Owner: keyOf(c).Owner, Order: in.ID}, in.Query, in.Wait, in.Stream)
	}
}

// OfOwner handles GET /v1/events.
//
//	@Summary		Get the events of all orders
//	@Description	What happened to the orders of the key's owner, as one stream in which each order's events are in their order. It is followed like the events of one order. An event can be some milliseconds later than there: it comes when no event can be added before it any more.
//	@Description
//	@Description	With Accept text/event-stream the response is a stream of Server-Sent Events, as those of one order.
//	@Tags			events
//	@ID				listEvents
//	@Produce		json,text/event-stream
//	@Param			filter	query	eventFilter	false	"Filter"
//	@Param			wait	query	eventWait	false	"Waiting"
//	@Param			stream	header	eventResume	false	"Stream"
//	@Success		200		{object}	models.EventPage
//	@Failure		410		{object}	middleware.CursorProblem
//	@Failure		422		{object}	middleware.Problem
//	@Router			/v1/events [get]
func (h *Events) OfOwner(c *gin.Context) {
	if in, ok := bindFor(c, ownerEvents{}, binding.JSON, eventStreamType); ok {
		h.respond(c, models.EventStream{Owner: keyOf(c).Owner}, in.Query, in.Wait, in.Stream)
	}
}

// respond responds with the events of a stream, in the way that the client prefers.
func (h *Events) respond(c *gin.Context, of models.EventStream, filter eventFilter, wait eventWait, resume eventResume) {
	if PrefersEventStream(c.Request.Header) {
		h.streams.serveSSE(c, followed{of, filter.toModel()}, resume)
		return
	}
	h.list(c, of, filter, wait)
}

// minFreeWait is the least time that a request without events must have waited to
// cost nothing. Shorter ones are charged as polls are: they would be free polls.
const minFreeWait = time.Second

// list responds with the events of a stream. A wait without any is not charged.
// Clients whose wait the drain ended connect to another instance.
func (h *Events) list(c *gin.Context, of models.EventStream, filter eventFilter, wait eventWait) {
	timeout := time.Duration(wait.Wait)
	began := time.Now()
	page, err := h.await(c.Request.Context(), of, filter.toModel(), timeout)
	if timeout > 0 {
		request := models.RequestFrom(c)
		request.Waited = time.Since(began)
		request.Free = err == nil && len(page.Data) == 0 && request.Waited >= minFreeWait
		if h.serving.Err() != nil {
			c.Header("Connection", "close")
		}
	}
	respond(c, http.StatusOK, page, err)
}

// await waits for events, at most until the server drains; from then on not at all.
func (h *Events) await(ctx context.Context, of models.EventStream, q models.EventQuery, timeout time.Duration) (models.EventPage, error) {
	if timeout == 0 || h.serving.Err() != nil {
		return h.log.Wait(ctx, of, q, 0)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.serving, cancel)()
	page, err := h.log.Wait(waiting, of, q, timeout)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil { // the client gets what there is, and a cursor
		return h.log.Wait(ctx, of, q, 0)
	}
	return page, err
}
