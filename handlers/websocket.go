package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

const (
	// pingInterval and pongTimeout bound how long a connection whose client is gone
	// without a word holds its place: both together.
	pingInterval = 20 * time.Second
	pongTimeout  = 10 * time.Second
	// socketReadLimit bounds a message of the client, in bytes. It sends none.
	socketReadLimit = 512
)

// statusCursorExpired is the close code of a WebSocket whose next events were
// deleted, in the range of private use; the other codes are standard ones.
const statusCursorExpired websocket.StatusCode = 4410

// closeCodes are the codes that close a WebSocket, by reason. Without a code the
// connection is closed without a close frame.
var closeCodes = map[models.StreamEnd]websocket.StatusCode{
	models.StreamLifetime: websocket.StatusGoingAway,
	models.StreamShutdown: websocket.StatusGoingAway,

	models.StreamKeyInvalid:        websocket.StatusPolicyViolation,
	models.StreamKeySuspended:      websocket.StatusPolicyViolation,
	models.StreamScopeMissing:      websocket.StatusPolicyViolation,
	models.StreamAddressNotAllowed: websocket.StatusPolicyViolation,
	models.StreamOwnerChanged:      websocket.StatusPolicyViolation,

	models.StreamCursorExpired: statusCursorExpired,
	models.StreamFailed:        websocket.StatusInternalError,
}

// socket is a WebSocket that takes events.
type socket struct {
	*websocket.Conn
	ctx      context.Context // of the stream
	pingedAt time.Time
}

// orderSocket is the input of GET /v1/orders/{id}/events/ws.
type orderSocket struct {
	ID    string `uri:"id"`
	Query socketQuery
}

// ownerSocket is the input of GET /v1/events/ws.
type ownerSocket struct{ Query socketQuery }

// socketQuery selects the events of a WebSocket.
type socketQuery struct {
	After  string     `form:"after" example:"MS4x"`                                                                                                   // Position to start after: next_cursor of a response, or the cursor of an event; empty: the start
	Types  eventTypes `form:"types" swaggertype:"string" pattern:"^([a-z]+\\.[a-z]+(,[a-z]+\\.[a-z]+)*)?$" example:"order.confirmed,order.cancelled"` // Only events of these types, separated by commas; empty: all
	Ticket string     `form:"ticket" example:"tkt_4CLHASCY3OD6DWBAZZHK43Y66R"`                                                                        // Ticket in place of the API key, from POST /v1/tickets
}

// OfOrder handles GET /v1/orders/{id}/events/ws.
//
//	@Summary		Follow an order over a WebSocket
//	@Description	Sends the events of an order, those that happened already first, each as one text frame with the JSON of an event. Connect again with the cursor of the last event as after: no event is lost or repeated.
//	@Description
//	@Description	The server pings every 20 seconds and takes no messages. It closes with 1001 (lifetime, shutdown: connect again), 1008 (the key was revoked or suspended, or lost the scope), 4410 (cursor_expired) or 1011. [Streams](/guide/following-orders)
//	@Tags			events
//	@ID				followOrderEvents
//	@Produce		json
//	@Param			id		path	string		true	"Order id"	example(ord_5HqT1bZr8w)
//	@Param			query	query	socketQuery	false	"Filter"
//	@Success		101		"Switching protocols: the connection is a WebSocket"
//	@Header			101		{string}	Upgrade					"websocket"
//	@Header			101		{string}	Sec-WebSocket-Accept	"Answer to Sec-WebSocket-Key"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		403		{object}	middleware.Problem
//	@Failure		404		{object}	middleware.Problem
//	@Failure		410		{object}	middleware.CursorProblem
//	@Failure		422		{object}	middleware.Problem
//	@Failure		426		{object}	middleware.Problem
//	@Header			426		{string}	Upgrade	"websocket"
//	@Router			/v1/orders/{id}/events/ws [get]
func (h *EventStreams) OfOrder(c *gin.Context) {
	if in, ok := bindFor(c, orderSocket{}); ok {
		h.serveWebSocket(c, in.Query.of(models.EventStream{Owner: keyOf(c).Owner, Order: in.ID}))
	}
}

// OfOwner handles GET /v1/events/ws.
//
//	@Summary		Follow all orders over a WebSocket
//	@Description	Sends the events of the orders of the key's owner, in the order of `GET /v1/events`, like the WebSocket of one order.
//	@Tags			events
//	@ID				followEvents
//	@Produce		json
//	@Param			query	query	socketQuery	false	"Filter"
//	@Success		101		"Switching protocols: the connection is a WebSocket"
//	@Header			101		{string}	Upgrade					"websocket"
//	@Header			101		{string}	Sec-WebSocket-Accept	"Answer to Sec-WebSocket-Key"
//	@Failure		400		{object}	middleware.Problem
//	@Failure		403		{object}	middleware.Problem
//	@Failure		410		{object}	middleware.CursorProblem
//	@Failure		422		{object}	middleware.Problem
//	@Failure		426		{object}	middleware.Problem
//	@Header			426		{string}	Upgrade	"websocket"
//	@Router			/v1/events/ws [get]
func (h *EventStreams) OfOwner(c *gin.Context) {
	if in, ok := bindFor(c, ownerSocket{}); ok {
		h.serveWebSocket(c, in.Query.of(models.EventStream{Owner: keyOf(c).Owner}))
	}
}

func (q *socketQuery) of(stream models.EventStream) followed {
	return followed{stream, models.EventQuery{After: q.After, Types: q.Types}}
}

// serveWebSocket sends events from the first page on over a WebSocket. The request
// ends with the handshake, so that an idle connection doesn't keep what net/http
// needs for requests; the stream service waits for the stream that remains.
func (h *EventStreams) serveWebSocket(c *gin.Context, in followed) {
	request := models.RequestFrom(c)
	ctx := models.WithRequest(context.Background(), &models.Request{ID: request.ID, Key: request.Key, Address: request.Address})
	st, page, err := h.openStream(ctx, &in)
	if err != nil {
		fail(c, err)
		return
	}
	conn, err := acceptWebSocket(c, h.origins)
	if err != nil {
		st.Close(err)
		fail(c, err)
		return
	}
	release := func() {}
	if request.KeepSlots != nil {
		release = request.KeepSlots()
	}
	go h.runSocket(st, in, page, conn, release)
}

// runSocket sends events until the stream ends, closes the connection, and then frees
// the slots and the place of the stream.
func (h *EventStreams) runSocket(st *models.Stream, in followed, page models.EventPage, conn *websocket.Conn, release func()) {
	reason := error(models.StreamFailed)
	defer func() { st.Close(reason) }()
	defer release()
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(socketReadLimit)
	gone := conn.CloseRead(context.Background())
	context.AfterFunc(gone, func() { st.End(context.Canceled) })
	reason = h.followSafely(st, in, page, &socket{Conn: conn, ctx: st, pingedAt: time.Now()})
	end, _ := errors.AsType[models.StreamEnd](reason)
	if code, known := closeCodes[end]; known {
		_ = conn.Close(code, string(end)) // waits for the client's answer, 5 s at most
	}
}

// followSafely is follow outside of a request, where no middleware recovers: a panic
// is the reason StreamFailed, with its stack.
func (h *EventStreams) followSafely(st *models.Stream, in followed, page models.EventPage, to eventSink) (reason error) {
	defer func() {
		if p := recover(); p != nil {
			reason = fmt.Errorf("%w: panic: %v\n%s", models.StreamFailed, p, debug.Stack())
		}
	}()
	return h.follow(st, in, page, to)
}

// send sends each event as one text frame.
func (s *socket) send(events []models.Event) error {
	for i := range events {
		data, err := json.Marshal(&events[i])
		if err != nil {
			return fmt.Errorf("%w: %w", models.StreamFailed, err)
		}
		if err := s.Write(context.Background(), websocket.MessageText, data); err != nil { // see boundConn
			return writeFailure(err)
		}
	}
	if time.Since(s.pingedAt) < pingInterval {
		return nil
	}
	return s.idle()
}

// idle pings the client and waits for its pong.
func (s *socket) idle() error {
	if time.Since(s.pingedAt) < pingInterval { // the stream has just begun
		return nil
	}
	s.pingedAt = time.Now()
	ctx, cancel := context.WithTimeoutCause(s.ctx, pongTimeout, models.StreamUnanswered)
	defer cancel()
	err := s.Ping(ctx)
	if cause, ended := errors.AsType[models.StreamEnd](context.Cause(ctx)); err != nil && ended {
		return cause
	}
	return err
}

func (*socket) idleTime() time.Duration { return pingInterval }
