package client

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// afterAnswer says whether a request is to be sent again, and notes in turn from
// when on. A 429 was not done, so anything may be, as often as it takes; a 503
// may have been, so only what does no harm when it is done twice; and a 409 that
// tells when to come back is an order that is being placed under the same key.
// Where that would be too late, the answer stands, and says when to come back.
func (t *Transport) afterAnswer(request *http.Request, response *http.Response, turn *turn, ticket *ticket) bool {
	after, told := retryAfter(response.Header, time.Now())
	if !told {
		return false // waiting doesn't help, or nobody knows
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		problem := peekProblem(response)
		if problem.RetryAfter != nil {
			after = min(after, *problem.RetryAfter) // the same, not rounded
		}
		t.pacer.refuse(ticket, problem.ViolatedPolicies, after)
	case http.StatusServiceUnavailable, http.StatusConflict:
		if turn.failures++; turn.failures >= t.attempts || !repeatable(request) {
			return false
		}
	default:
		return false
	}
	return t.mayWait(request, turn, after)
}

// afterSilence is afterAnswer where no answer came: the request may have been
// done. Nobody says when to come back, so each pause is up to twice as long.
func (t *Transport) afterSilence(request *http.Request, turn *turn) bool {
	turn.failures++
	if turn.failures >= t.attempts || request.Context().Err() != nil || !repeatable(request) {
		return false
	}
	most := min(firstBackoff<<min(turn.failures-1, 10), longestBackoff)
	return t.mayWait(request, turn, most/2+rand.N(most/2))
}

// The pauses after a failure of the network.
const (
	firstBackoff   = 200 * time.Millisecond
	longestBackoff = 10 * time.Second
)

// mayWait notes when the next try may be, and says whether that is soon enough
// and the body can be sent once more.
func (t *Transport) mayWait(request *http.Request, turn *turn, after time.Duration) bool {
	turn.notBefore = t.pacer.now() + max(after, leastPause)
	hasBody := request.Body != nil && request.Body != http.NoBody
	return turn.notBefore <= turn.deadline && (!hasBody || request.GetBody != nil)
}

// repeatable says whether it does no harm to do a request twice.
func repeatable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	default:
		return request.Header.Get(idempotencyKey) != ""
	}
}

// peekProblem reads a failure and leaves its body to be read again.
func peekProblem(response *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(response.Body, longestProblem)) // what was read is all that is known
	_ = response.Body.Close()                                            // as above
	response.Body = io.NopCloser(bytes.NewReader(body))
	return parseProblem(response, body)
}
