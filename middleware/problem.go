package middleware

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
)

// Fail reports that a request failed and ends it. RenderErrors writes the
// response.
func Fail(c *gin.Context, err error) {
	c.Errors = append(c.Errors, &gin.Error{Err: err, Type: gin.ErrorTypePrivate}) // as c.Error, without looking for a *gin.Error in err
	c.Abort()
}

// httpError is a failure that only HTTP knows.
type httpError struct {
	status int
	code   string // of the problem
	detail string
}

// Error returns the detail.
func (e *httpError) Error() string { return e.detail }

// HTTPStatus returns the status of the response.
func (e *httpError) HTTPStatus() int { return e.status }

// Code returns the code of the problem.
func (e *httpError) Code() string { return e.code }

// statusError is an error with an HTTP status, whose text may be sent to
// clients: this package's, or one of the input.
type statusError interface {
	error
	HTTPStatus() int
	Code() string
}

// limitedError is a refusal by policies.
type limitedError struct {
	code       string // of the problem
	detail     string
	cost       int64         // units that the request would have cost
	violated   []string      // names of the policies that refused
	retryAfter time.Duration // 0: a retry can never succeed
}

// Error returns the detail.
func (e *limitedError) Error() string { return e.detail }

// RenderErrors writes a problem when a handler reported an error, or set only an
// error status, and wrote nothing. It is the only place that writes problems.
func RenderErrors() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		if c.Writer.Written() {
			return
		}
		if status := c.Writer.Status(); len(c.Errors) == 0 && status >= http.StatusBadRequest {
			Fail(c, &httpError{status, statusCodes[status], http.StatusText(status) + "."})
		}
		if len(c.Errors) > 0 {
			renderError(c)
		}
	}
}

// statusCodes are the codes of statuses that a handler set without an error.
var statusCodes = map[int]string{
	http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "method_not_allowed", http.StatusPreconditionFailed: "version_mismatch",
}

// NotFound handles unknown paths.
func NotFound(c *gin.Context) {
	Fail(c, &httpError{http.StatusNotFound, "not_found", "Unknown path. The API is described at /docs."})
}

// MethodNotAllowed handles methods that a path doesn't support. literal holds the
// methods of paths without parameters, by path. For the others gin has set the
// Allow header.
func MethodNotAllowed(literal map[string][]string) gin.HandlerFunc {
	return func(c *gin.Context) {
		methods := strings.Split(c.Writer.Header().Get("Allow"), ", ")
		if own, ok := literal[c.Request.URL.EscapedPath()]; ok {
			methods = append(slices.Clone(own), http.MethodOptions)
		}
		allow := allowHeader(methods)
		c.Header("Allow", allow)
		Fail(c, &httpError{
			http.StatusMethodNotAllowed, "method_not_allowed",
			fmt.Sprintf("The method %s is not supported here. Supported: %s.", c.Request.Method, allow),
		})
	}
}

// statusClientClosedRequest is nginx's status for a client that closed the
// connection before the response. There is no standard one.
const statusClientClosedRequest = 499

// retryUnavailable is the Retry-After of a response to a failed dependency.
const retryUnavailable = 2 * time.Second

// retryOverloaded is the shortest Retry-After of a rejected job: by then the
// queue that it met is processed or given up. Because many are rejected at
// once, up to spreadOverloaded is added at random.
const (
	retryOverloaded  = time.Second
	spreadOverloaded = 3 * time.Second
)

// problem is the client-visible part of an error.
type problem struct {
	status     int
	kind       string // the problem's type; empty: ProblemBlank
	code       string // stable, documented
	detail     string
	fields     []FieldError
	requestID  string        // of an earlier request that failed with these fields; empty: the present one
	retryAfter time.Duration // 0: no Retry-After
	limited    *limitedError // of a 429
	expired    *models.CursorExpiredError
}

// problemFor maps an error to the problem sent to the client. It is the only
// place where error kinds become HTTP statuses. Causes are logged, never sent.
func problemFor(ctx context.Context, err error) problem {
	if limited, ok := errors.AsType[*limitedError](err); ok {
		return problem{
			status: http.StatusTooManyRequests, kind: ProblemQuotaExceeded, code: limited.code, detail: limited.detail,
			retryAfter: limited.retryAfter, limited: limited,
		}
	}
	if expired, ok := errors.AsType[*models.CursorExpiredError](err); ok {
		return problem{status: http.StatusGone, code: "cursor_expired", detail: expiredDetail(expired), expired: expired}
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return problem{status: status.HTTPStatus(), code: cmp.Or(status.Code(), "error"), detail: maskKeys(status.Error())}
	}
	domain, ok := errors.AsType[*models.Error](err)
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// For the log, and for charging: the client caused it.
		return problem{status: statusClientClosedRequest, code: "client_closed_request", detail: "The client closed the connection."}
	case ok:
		return problemForKind(domain)
	case errors.Is(err, context.DeadlineExceeded):
		return problemForKind(models.ErrUnavailable)
	default:
		return problem{
			status: http.StatusInternalServerError, code: "internal_error",
			detail: "An internal error occurred. The request id identifies it in the server's log.",
		}
	}
}

// kindStatuses are the statuses, codes and standard details of error kinds.
var kindStatuses = map[models.Kind]struct {
	status       int
	code, detail string
}{
	models.KindNotFound:           {http.StatusNotFound, "not_found", "The resource does not exist, or belongs to another owner."},
	models.KindUnauthenticated:    {http.StatusUnauthorized, "key_invalid", "The API key is not valid."},
	models.KindForbidden:          {http.StatusForbidden, "forbidden", "The API key does not allow this."},
	models.KindConflict:           {http.StatusConflict, "conflict", "The current state of the resource does not allow this."},
	models.KindPreconditionFailed: {http.StatusPreconditionFailed, "version_mismatch", "The resource has another version."},
	models.KindInvalid:            {http.StatusUnprocessableEntity, "invalid_input", ""},
	models.KindUnavailable:        {http.StatusServiceUnavailable, "unavailable", "A required service is unavailable. Retry later."},
	models.KindLimited:            {http.StatusTooManyRequests, "rate_limited", "Too many requests."},
	models.KindOverloaded:         {http.StatusServiceUnavailable, "overloaded", "The server is at capacity. Retry later."},
}

// problemForKind maps a domain error to a problem.
func problemForKind(err *models.Error) problem {
	standard := kindStatuses[err.Kind]
	p := problem{
		status: standard.status, code: cmp.Or(err.Code, standard.code), detail: maskKeys(cmp.Or(err.Message, standard.detail)), retryAfter: err.RetryAfter,
		requestID: err.RequestID,
	}
	switch err.Kind {
	case models.KindInvalid:
		p.detail, p.fields = faultCount(err), fieldErrors(err.Faults)
	case models.KindUnavailable:
		p.retryAfter = cmp.Or(p.retryAfter, retryUnavailable)
	case models.KindLimited:
		p.kind, p.limited = ProblemQuotaExceeded, &limitedError{cost: 1, violated: []string{err.Policy}, retryAfter: err.RetryAfter}
	case models.KindOverloaded:
		p.kind, p.retryAfter = ProblemReducedCapacity, retryOverloaded+rand.N(spreadOverloaded)
	default:
	}
	return p
}

// renderError writes the problem of the last error that was reported.
func renderError(c *gin.Context) {
	p := problemFor(c.Request.Context(), c.Errors.Last().Err)
	s := stateOf(c)
	body := Problem{
		Type: cmp.Or(p.kind, ProblemBlank), Title: http.StatusText(p.status), Status: p.status, Code: ProblemCode(p.code), Detail: p.detail,
		Instance:  maskURL(c.Request.URL),
		RequestID: cmp.Or(p.requestID, s.request.ID), Errors: p.fields,
	}
	if p.status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", challenge)
	}
	if p.retryAfter > 0 {
		s.setRetryAfter(p.retryAfter)
	}
	s.scratch = s.scratch[:0]
	switch {
	case p.expired != nil:
		s.scratch = appendMarshaled(s.scratch, CursorProblem{Problem: body, Order: p.expired.Order, NextCursor: p.expired.NextCursor})
	case p.limited != nil:
		quota := QuotaProblem{Problem: body, ViolatedPolicies: p.limited.violated, Cost: p.limited.cost}
		if p.retryAfter > 0 {
			seconds := models.Seconds(p.retryAfter)
			quota.RetryAfter = &seconds
		}
		s.scratch = quota.appendTo(s.scratch)
	default:
		s.scratch = body.appendTo(s.scratch)
	}
	writeProblem(c, p.status, s.scratch)
}

// expiredDetail returns the detail of a 410.
func expiredDetail(e *models.CursorExpiredError) string {
	state := "The member order has the present state"
	if e.Order == nil {
		state = "GET /v1/orders has the present state"
	}
	return "Events after this cursor are not available any more. " + state + ", and next_cursor continues from there."
}

// responseOnlyHeaders are set by handlers for a successful response and removed
// when the request fails.
var responseOnlyHeaders = []string{"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Length", "Etag", "Link", "Location"}

// problemType is the Content-Type of every error response. It must not be changed.
var problemType = []string{ProblemMediaType}

// writeProblem writes a problem and drops the header fields of the successful
// response.
func writeProblem(c *gin.Context, status int, body []byte) {
	header := c.Writer.Header()
	for _, name := range responseOnlyHeaders {
		delete(header, name)
	}
	header["Cache-Control"], header["Content-Type"] = noStore, problemType
	c.Status(status)
	if len(body) > computedLength {
		c.Header("Content-Length", strconv.Itoa(len(body)))
	}
	if _, err := c.Writer.Write(body); err != nil {
		_ = c.Error(err) // for the log: the client closed the connection
	}
}

// computedLength is the length of a body, in bytes, up to which net/http computes
// the Content-Length itself (net/http.bufferBeforeChunkingSize).
const computedLength = 2048

// setRetryAfter sets Retry-After: whole seconds, never too early, and jittered.
func (s *requestState) setRetryAfter(d time.Duration) {
	s.retryAfterField[0] = strconv.FormatInt(ratelimit.RetryAfterSeconds(d, rand.Uint64()), 10)
	s.Header()["Retry-After"] = s.retryAfterField[:]
}

// roundUp rounds d up to a multiple of unit.
func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1) / unit * unit }

// faultCount returns the detail of a 422.
func faultCount(err *models.Error) string {
	switch listed := len(err.Faults); {
	case err.TotalFaults == 1:
		return "1 fault in the request: see errors."
	case err.TotalFaults > listed:
		return fmt.Sprintf("%d faults in the request: see errors for the first %d.", err.TotalFaults, listed)
	default:
		return fmt.Sprintf("%d faults in the request: see errors.", listed)
	}
}
