package client

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// again says whether a request is to be sent again, and notes in turn from when
// on. A 429 was not done, so anything may be; a 503 may have been, so only what
// does no harm when it is done twice. Where that would be too late, the answer
// stands, and says when to come back.
func (t *Transport) again(request *http.Request, response *http.Response, turn *turn, ticket *ticket) bool {
	limited := response.StatusCode == http.StatusTooManyRequests
	if !limited && (response.StatusCode != http.StatusServiceUnavailable || !repeatable(request)) {
		return false
	}
	after, told := retryAfter(response.Header, time.Now())
	if !told {
		return false // waiting doesn't help, or nobody knows
	}
	if limited {
		problem := peekProblem(response)
		if problem.RetryAfter != nil {
			after = min(after, *problem.RetryAfter) // the same, not rounded
		}
		t.pacer.refuse(ticket, problem.ViolatedPolicies, after)
	}
	turn.notBefore = t.pacer.now() + after
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
