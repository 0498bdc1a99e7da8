package middleware

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// exchange is what the middleware keeps of one request and its answer. It
// stands in gin's context as the response writer: a place that costs no
// allocation, and the one that must know when the status is written, for
// refunds are settled then. Exchanges are pooled; what may outlive the request
// is in lasting.
type exchange struct {
	gin.ResponseWriter
	*lasting
	started time.Time
	keys    map[any]any // becomes gin's: it would make one a request

	quota       *ratelimit.Quota
	route       *models.Route
	recorder    Recorder
	fields      Fields
	limited     bool // reservation is filled
	settled     bool // and its outcome told, and its fields set
	reservation ratelimit.Reservation
}

// lasting is allocated once a request and never reused, for others may hold on
// to it when the request has ended.
type lasting struct {
	request models.Request

	// These back the values of header fields: a field's slice would cost an
	// allocation each, and may be read after the request.
	requestIDField, rateLimitField [1]string
}

var exchanges = sync.Pool{New: func() any { return &exchange{keys: map[any]any{}} }}

// Begin opens a request: it gives it an id, accepted from the caller's
// X-Request-Id or made, lets models.RequestFrom find it in gin's context, and
// wraps its response writer. All other middleware of this package relies on it.
func Begin() gin.HandlerFunc {
	return func(c *gin.Context) {
		e := exchanges.Get().(*exchange)
		e.ResponseWriter = c.Writer
		e.lasting = &lasting{request: models.Request{ID: requestID(c.Request.Header)}}
		e.started = time.Now()
		e.keys[models.RequestKey] = &e.request
		c.Keys, c.Writer = e.keys, e
		e.requestIDField[0] = e.request.ID
		e.Header()[requestIDHeader] = e.requestIDField[:]
		defer func() {
			c.Writer = e.ResponseWriter
			e.record()
			e.release()
			e.reset()
			exchanges.Put(e)
		}()
		c.Next()
		e.WriteHeaderNow()
	}
}

// reset forgets the request. What the reservation still points to is the quota's,
// which the cache holds anyway.
func (e *exchange) reset() {
	if len(e.keys) > 1 { // a handler has set some of its own
		clear(e.keys)
	}
	e.keys[models.RequestKey] = nil
	e.ResponseWriter, e.lasting, e.quota, e.route, e.recorder = nil, nil, nil, nil, nil
	e.limited, e.settled = false, false
}

// QuotaOf returns the quota of the request's key, which Authenticate found; nil
// without one.
func QuotaOf(c *gin.Context) *ratelimit.Quota { return exchangeOf(c).quota }

// exchangeOf returns the request's exchange, which Begin made.
func exchangeOf(c *gin.Context) *exchange { return c.Writer.(*exchange) }

// WriteHeaderNow sends the header, after settling what the status decides.
func (e *exchange) WriteHeaderNow() {
	e.settle()
	e.ResponseWriter.WriteHeaderNow()
}

// Write sends the header, if that is still to do, and data.
func (e *exchange) Write(data []byte) (int, error) {
	e.settle()
	e.varyBySize(len(data))
	return e.ResponseWriter.Write(data)
}

// WriteString is Write for a string.
func (e *exchange) WriteString(s string) (int, error) {
	e.settle()
	e.varyBySize(len(s))
	return e.ResponseWriter.WriteString(s)
}

// Flush sends what is buffered.
func (e *exchange) Flush() {
	e.settle()
	e.ResponseWriter.Flush()
}

// Hijack hands the connection over, as WebSockets do: a 101 is a success.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	e.ResponseWriter.WriteHeader(http.StatusSwitchingProtocols)
	e.settle()
	return e.ResponseWriter.Hijack()
}

// Unwrap lets http.ResponseController reach the connection's own writer.
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }
