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

// renderError writes the last error that was reported as the answer. Only what
// the kinds of errors are made to tell reaches the caller.
func renderError(c *gin.Context) {
	err := c.Errors.Last().Err
	problem := models.Problem{
		Type:      models.ProblemBlank,
		Instance:  withoutKeys(c.Request.URL.EscapedPath()),
		RequestID: exchangeOf(c).request.ID,
	}
	var (
		status  *models.StatusError
		invalid *models.InvalidError
		limited *models.LimitedError
	)
	switch {
	case errors.As(err, &limited):
		renderLimited(c, problem, limited)
		return
	case errors.As(err, &invalid):
		problem.Status = http.StatusUnprocessableEntity
		problem.Detail = faultCount(invalid)
		problem.Errors = maskedFaults(invalid.Faults)
		problem.RequestID = cmp.Or(invalid.RequestID, problem.RequestID)
	case errors.As(err, &status):
		problem.Status, problem.Detail = status.Status, withoutKeys(status.Detail)
		if status.RetryAfter > 0 {
			setRetryAfter(c, status.RetryAfter)
		}
	case errors.Is(err, models.ErrInvalidKey):
		c.Header("WWW-Authenticate", challenge)
		problem.Status, problem.Detail = http.StatusUnauthorized, "The API key is not valid."
	case errors.Is(err, models.ErrNotFound):
		problem.Status, problem.Detail = http.StatusNotFound, "There is nothing here, or it isn't yours."
	case errors.Is(err, context.Canceled) && c.Request.Context().Err() != nil:
		// Nobody reads this; it is for the log, and for what is charged: the
		// caller's own doing, not a failure of ours.
		problem.Status, problem.Detail = statusClientClosedRequest, "The caller hung up."
	case errors.Is(err, models.ErrOverloaded):
		setRetryAfter(c, retryOverloaded+rand.N(spreadOverloaded))
		problem.Type = models.ProblemReducedCapacity
		problem.Status, problem.Detail = http.StatusServiceUnavailable, "There is more of this work than can be done just now. Please try again."
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		problem.Status, problem.Detail = http.StatusServiceUnavailable, "Something that this needs is down just now. Please try again."
	default:
		problem.Status, problem.Detail = http.StatusInternalServerError, "Something went wrong on our side. The request id helps us to find it."
	}
	if problem.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", challenge)
	}
	if problem.Status == http.StatusServiceUnavailable && c.Writer.Header().Get("Retry-After") == "" {
		setRetryAfter(c, retryUnavailable)
	}
	problem.Title = http.StatusText(problem.Status)
	send(c, problem.Status, problem)
}

func renderLimited(c *gin.Context, problem models.Problem, err *models.LimitedError) {
	problem.Type = models.ProblemQuotaExceeded
	problem.Status = http.StatusTooManyRequests
	problem.Title = http.StatusText(problem.Status)
	problem.Detail = err.Detail
	quota := models.QuotaProblem{Problem: problem, ViolatedPolicies: err.Violated}
	if err.RetryAfter > 0 {
		setRetryAfter(c, err.RetryAfter)
		seconds := err.RetryAfter.Seconds()
		quota.RetryAfter = &seconds
	}
	send(c, problem.Status, quota)
}

// send writes body as problem+json, whatever the handler had begun to say of the
// answer that it wanted to give.
func send(c *gin.Context, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil { // these are our own structs of strings and numbers
		panic(err)
	}
	header := c.Writer.Header()
	delete(header, "Content-Type") // gin doesn't overwrite it
	delete(header, "Etag")
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
