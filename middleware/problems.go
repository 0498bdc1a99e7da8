package middleware

import (
	"cmp"
	"context"
	"encoding/json"
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

// Fail reports that a request failed and ends it; RenderErrors answers.
func Fail(c *gin.Context, err error) {
	_ = c.Error(err) // c.Error returns its argument wrapped, for chaining
	c.Abort()
}

// RenderErrors answers with problem+json when a handler reported an error, or
// set only a status, and wrote nothing: here and only here errors become
// answers.
func RenderErrors() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		if c.Writer.Written() {
			return
		}
		if status := c.Writer.Status(); len(c.Errors) == 0 && status >= http.StatusBadRequest {
			Fail(c, &models.StatusError{Status: status, Detail: http.StatusText(status) + "."})
		}
		if len(c.Errors) > 0 {
			renderError(c)
		}
	}
}

// NotFound answers for paths that there are none of.
func NotFound(c *gin.Context) {
	Fail(c, &models.StatusError{Status: http.StatusNotFound, Detail: "There is no such path. The paths are listed at /docs."})
}

// MethodNotAllowed answers for methods that a path doesn't have; gin has set
// Allow.
func MethodNotAllowed(c *gin.Context) {
	allow := allowed(strings.Split(c.Writer.Header().Get("Allow"), ", "))
	c.Header("Allow", allow)
	Fail(c, &models.StatusError{
		Status: http.StatusMethodNotAllowed,
		Detail: fmt.Sprintf("This path doesn't take %s; it takes %s.", c.Request.Method, allow),
	})
}

// statusClientClosedRequest is nginx's number for a caller who hung up before
// the answer; there is no standard one.
const statusClientClosedRequest = 499

// retryUnavailable is the time after which a caller is asked to come back when
// something that we need is down.
const retryUnavailable = 2 * time.Second

// retryOverloaded is the earliest that a caller who was shed is asked to come
// back: by then the queue that it met has been worked off or given up. As many
// are shed together, each is told to come up to spreadOverloaded later; the
// tenth that setRetryAfter adds is nothing where seconds are few.
const (
	retryOverloaded  = time.Second
	spreadOverloaded = 3 * time.Second
)

// told is what a caller is told of an error.
type told struct {
	status     int
	kind       string // of problem; empty: ProblemBlank
	detail     string
	faults     []models.FieldError
	requestID  string        // of an earlier request that failed in this way; empty: the request's own
	retryAfter time.Duration // 0: not said
	quota      *models.LimitedError
}

// tell is the table of errors. Only what their kinds are made to tell reaches the
// caller. ctx is the request's.
func tell(ctx context.Context, err error) told {
	var (
		status  *models.StatusError
		invalid *models.InvalidError
		limited *models.LimitedError
	)
	switch {
	case errors.As(err, &limited):
		return told{status: http.StatusTooManyRequests, kind: models.ProblemQuotaExceeded, detail: limited.Detail, retryAfter: limited.RetryAfter, quota: limited}
	case errors.As(err, &invalid):
		return told{status: http.StatusUnprocessableEntity, detail: faultCount(invalid), faults: maskedFaults(invalid.Faults), requestID: invalid.RequestID}
	case errors.As(err, &status):
		t := told{status: status.Status, detail: withoutKeys(status.Detail), retryAfter: status.RetryAfter}
		if t.status == http.StatusServiceUnavailable && t.retryAfter == 0 {
			t.retryAfter = retryUnavailable
		}
		return t
	case errors.Is(err, models.ErrInvalidKey):
		return told{status: http.StatusUnauthorized, detail: "The API key is not valid."}
	case errors.Is(err, models.ErrNotFound):
		return told{status: http.StatusNotFound, detail: "There is nothing here, or it isn't yours."}
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// Nobody reads this; it is for the log, and for what is charged: the
		// caller's own doing, not a failure of ours.
		return told{status: statusClientClosedRequest, detail: "The caller hung up."}
	case errors.Is(err, models.ErrOverloaded):
		return told{
			status: http.StatusServiceUnavailable, kind: models.ProblemReducedCapacity,
			detail:     "There is more of this work than can be done just now. Please try again.",
			retryAfter: retryOverloaded + rand.N(spreadOverloaded),
		}
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return told{status: http.StatusServiceUnavailable, detail: "Something that this needs is down just now. Please try again.", retryAfter: retryUnavailable}
	default:
		return told{status: http.StatusInternalServerError, detail: "Something went wrong on our side. The request id helps us to find it."}
	}
}

// renderError writes the last error that was reported as the answer.
func renderError(c *gin.Context) {
	t := tell(c.Request.Context(), c.Errors.Last().Err)
	problem := models.Problem{
		Type: cmp.Or(t.kind, models.ProblemBlank), Title: http.StatusText(t.status), Status: t.status, Detail: t.detail,
		Instance:  withoutKeys(c.Request.URL.EscapedPath()),
		RequestID: cmp.Or(t.requestID, exchangeOf(c).request.ID), Errors: t.faults,
	}
	if t.status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", challenge)
	}
	if t.retryAfter > 0 {
		setRetryAfter(c, t.retryAfter)
	}
	if t.quota == nil {
		send(c, t.status, problem)
		return
	}
	body := models.QuotaProblem{Problem: problem, ViolatedPolicies: t.quota.Violated}
	if t.retryAfter > 0 {
		seconds := t.retryAfter.Seconds()
		body.RetryAfter = &seconds
	}
	send(c, t.status, body)
}

// ofTheAnswer are header fields of the answer that a handler wanted to give:
// nothing of it is to be said beside an error.
var ofTheAnswer = []string{"Content-Type", "Content-Disposition", "Etag", "Link", "Location"}

// send writes body as problem+json, whatever the handler had begun to say of the
// answer that it wanted to give.
func send(c *gin.Context, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil { // these are our own structs of strings and numbers
		panic(err)
	}
	header := c.Writer.Header()
	for _, name := range ofTheAnswer {
		delete(header, name)
	}
	header["Cache-Control"] = noStore
	c.Data(status, models.ProblemMediaType, data)
}

// setRetryAfter sets Retry-After: whole seconds, never too early, and jittered.
func setRetryAfter(c *gin.Context, d time.Duration) {
	c.Header("Retry-After", strconv.FormatInt(ratelimit.RetryAfterSeconds(d, rand.Uint64()), 10))
}

func faultCount(err *models.InvalidError) string {
	switch listed := len(err.Faults); {
	case err.Total == 1:
		return "There is 1 fault in the request: see errors."
	case err.Total > listed:
		return fmt.Sprintf("There are %d faults in the request: see errors for the first %d.", err.Total, listed)
	default:
		return fmt.Sprintf("There are %d faults in the request: see errors.", listed)
	}
}

// maskedFaults masks API keys that a caller used as names of fields.
func maskedFaults(faults []models.FieldError) []models.FieldError {
	masked := slices.Clone(faults)
	for i := range masked {
		masked[i].Pointer, masked[i].Message = withoutKeys(masked[i].Pointer), withoutKeys(masked[i].Message)
	}
	return masked
}
