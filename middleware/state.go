package middleware

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// requestState is what the middleware keeps about one request. It is found
// through the context, so that other middleware may wrap the response writer.
// It is itself a response writer because it settles the reservation when the
// status is written. States are pooled; what may outlive the request is in
// retained.
type requestState struct {
	gin.ResponseWriter
	*retained
	started time.Time
	clock   time.Time // a reading of it since which nothing was waited for; zero: none
	proxies *Proxies

	address      netip.Addr // of the caller, once addressKnown
	addressKnown bool
	addressText  string // "": not known yet

	keys    map[any]any // of the gin.Context, kept to save its allocation
	scratch []byte      // memory for what is encoded and written at once

	route            *models.Route
	recorder         Recorder
	fields           Fields
	meter            Meter // nil: none
	headOfCompressed bool  // a HEAD request whose GET response may be compressed
	quiet, probe     bool  // see Quiet
	endless          bool  // see Stream
	kept             bool  // see keepSlots
	limited          bool  // reservation is in use
	settled          bool  // reservation is settled and its header fields are set
	reservation      ratelimit.Reservation
	fieldBuffer      []byte          // for the RateLimit field
	renewer          *slotRenewer    // of the reservation; nil: it has no slots
	quota            ratelimit.Quota // of a request without a key
}

// retained is allocated once per request and never reused, because handlers may
// keep references to it.
type retained struct {
	request models.Request
	context requestContext

	// Backing arrays of header values, which may be read after the request.
	requestIDField, rateLimitField, retryAfterField [1]string
}

// bound returns the context of the request's handler, which is in the memory of the
// state: ctx with the request and a deadline, zero for none.
func (s *requestState) bound(ctx context.Context, deadline time.Time) *requestContext {
	s.context.Context, s.context.request, s.context.deadline = ctx, &s.request, deadline
	return &s.context
}

// stateKey is the key of the *requestState in a gin.Context. It is a string for
// the same reason as models.RequestKey.
const stateKey = "ratelimiter/middleware.requestState"

var states = sync.Pool{New: func() any { return &requestState{keys: make(map[any]any, 2)} }}

// Begin opens a request: it accepts or generates the request id, stores the
// request's state in the context and wraps the response writer. All other
// middleware of this package needs it.
func Begin(proxies *Proxies) gin.HandlerFunc {
	return func(c *gin.Context) {
		s := states.Get().(*requestState)
		s.ResponseWriter = c.Writer
		s.retained = &retained{request: models.Request{ID: requestID(c.Request.Header)}}
		s.started, s.proxies = time.Now(), proxies
		s.headOfCompressed = c.Request.Method == http.MethodHead && acceptsGzip(c.Request.Header)
		s.keys[models.RequestKey], s.keys[stateKey] = &s.request, s
		c.Keys, c.Writer = s.keys, s
		s.requestIDField[0] = s.request.ID
		s.Header()[requestIDHeader] = s.requestIDField[:]
		defer func() {
			c.Writer = s.ResponseWriter
			s.record()
			s.measure(c)
			s.release()
			kept := s.kept
			s.reset()
			if !kept {
				states.Put(s)
			}
		}()
		c.Next()
		c.Writer.WriteHeaderNow()
	}
}

// reset forgets the request. The reservation keeps referring to the quota,
// which is cached anyway.
func (s *requestState) reset() {
	clear(s.keys)
	s.ResponseWriter, s.retained, s.route, s.recorder, s.meter, s.renewer = nil, nil, nil, nil, nil, nil
	s.clock, s.quiet, s.probe, s.endless, s.kept = time.Time{}, false, false, false, false
	s.limited, s.settled, s.addressKnown, s.addressText = false, false, false, ""
}

// stateOf returns the state of the request that ctx, a *gin.Context, belongs to.
func stateOf(ctx context.Context) *requestState { return ctx.Value(stateKey).(*requestState) }

// WriteHeaderNow settles the reservation and sends the header.
func (s *requestState) WriteHeaderNow() {
	s.settle()
	if s.headOfCompressed {
		length, _ := strconv.Atoi(s.Header().Get("Content-Length")) // 0 if it isn't known
		s.prepareEncoding(length)
	}
	s.ResponseWriter.WriteHeaderNow()
}

// beforeWrite prepares the header, if it wasn't sent, for a write of n bytes. The
// last bytes of a response with a Content-Length are sent after its concurrency
// slots are free: a caller who has the response can send the next request.
func (s *requestState) beforeWrite(n int) {
	s.settle()
	s.prepareEncoding(n)
	if !s.limited || s.reservation.Hold() == 0 {
		return
	}
	length, err := strconv.Atoi(s.Header().Get("Content-Length"))
	if err == nil && max(0, s.Size())+n >= length {
		s.release()
	}
}

// Write sends the header, if it wasn't sent, and data.
func (s *requestState) Write(data []byte) (int, error) {
	s.beforeWrite(len(data))
	return s.ResponseWriter.Write(data)
}

// WriteString is Write for a string.
func (s *requestState) WriteString(text string) (int, error) {
	s.beforeWrite(len(text))
	return s.ResponseWriter.WriteString(text)
}

// Flush sends the header, if it wasn't sent, and what is buffered.
func (s *requestState) Flush() { _ = s.FlushError() }

// FlushError is Flush for http.ResponseController.
func (s *requestState) FlushError() error {
	s.settle()
	s.ResponseWriter.WriteHeaderNow()
	if w, ok := s.ResponseWriter.(interface{ Unwrap() http.ResponseWriter }); ok { // gin's own Flush hides the error
		return http.NewResponseController(w.Unwrap()).Flush()
	}
	s.ResponseWriter.Flush()
	return nil
}

// Hijack takes over the connection, for WebSockets. The status is 101, a
// success.
func (s *requestState) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.ResponseWriter.WriteHeader(http.StatusSwitchingProtocols)
	s.settle()
	return s.ResponseWriter.Hijack()
}

// Unwrap returns the wrapped writer, for http.ResponseController.
func (s *requestState) Unwrap() http.ResponseWriter { return s.ResponseWriter }
