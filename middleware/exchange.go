package middleware

import (
	"bufio"
	"context"
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
// is in requestContext.
type exchange struct {
	gin.ResponseWriter
	request *models.Request
	started time.Time

	quota       *ratelimit.Quota
	group       string
	limited     bool // reservation is filled
	settled     bool // and its outcome told, and its fields set
	reservation ratelimit.Reservation
	lasting     *requestContext
}

// requestContext carries a request's models.Request. It is allocated once a
// request and never reused, for a handler's goroutines may hold on to it.
type requestContext struct {
	context.Context
	request models.Request

	// These back the values of header fields: a field's slice would cost an
	// allocation each, and may be read after the request.
	requestIDField, rateLimitField [1]string
}

// Value answers for models.RequestKey itself.
func (c *requestContext) Value(key any) any {
	if key == models.RequestKey {
		return &c.request
	}
	return c.Context.Value(key)
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// Begin opens a request: it gives it an id, accepted from the caller's
// X-Request-Id or made, puts a models.Request into its context, and wraps its
// response writer. All other middleware of this package relies on it.
func Begin() gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx := &requestContext{Context: c.Request.Context()}
		ctx.request.ID = requestID(c.Request.Header)
		// In place: a copy of the request would be one more allocation, and
		// nobody above holds on to the context that it had.
		*c.Request = *c.Request.WithContext(ctx)

		e := exchanges.Get().(*exchange)
		e.ResponseWriter = c.Writer
		e.request, e.lasting = &ctx.request, ctx
		e.started = time.Now()
		c.Writer = e
		ctx.requestIDField[0] = ctx.request.ID
		c.Writer.Header()[requestIDHeader] = ctx.requestIDField[:]
		defer func() {
			c.Writer = e.ResponseWriter
			e.release()
			e.reset()
			exchanges.Put(e)
		}()
		c.Next()
		e.WriteHeaderNow()
	}
}

// reset forgets the request, so that the pool holds on to nothing of it.
func (e *exchange) reset() {
	e.ResponseWriter, e.request, e.lasting, e.quota = nil, nil, nil, nil
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
	return e.ResponseWriter.Write(data)
}

// WriteString is Write for a string.
func (e *exchange) WriteString(s string) (int, error) {
	e.settle()
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
