package client

import (
	"errors"
	"net/http"
)

// UnansweredError is a request that was tried, and whose answer didn't come, broke
// off, or said to come back: it may have been done or not. Find it with errors.As; the cause,
// such as the context's error, with errors.Is.
type UnansweredError struct {
	// IdempotencyKey is that of the request, "" if it had none. Sent again
	// under it within 24 hours, the same order is placed no second time.
	IdempotencyKey string
	// Err is why no answer came, or why it wasn't tried again.
	Err error
}

// Error says why there is no answer, and the idempotency key.
func (e *UnansweredError) Error() string {
	text := "no answer came: " + e.Err.Error()
	if e.IdempotencyKey != "" {
		text += " (Idempotency-Key " + e.IdempotencyKey + ")"
	}
	return text
}

// Timeout reports whether it was time that ran out.
func (e *UnansweredError) Timeout() bool {
	late, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && late.Timeout()
}

// Unwrap is the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// failed is the error of a request that isn't tried again.
func (t *turn) failed(request *http.Request, err error) error {
	if !t.unanswered {
		return err
	}
	return &UnansweredError{IdempotencyKey: request.Header.Get(idempotencyKey), Err: err}
}

// keyOf is the idempotency key under which an answer's request was sent, "" if
// there was none.
func keyOf(response *http.Response) string {
	if response.Request == nil {
		return ""
	}
	return response.Request.Header.Get(idempotencyKey)
}
