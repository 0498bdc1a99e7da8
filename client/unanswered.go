package client

import (
	"errors"
	"net/http"
)

// UnansweredError reports a request that may have been carried out: it was sent
// and its response is missing or incomplete, or retries after a 503 or 409 were
// cut short. Find it with errors.As, and its cause, such as the context's
// error, with errors.Is.
type UnansweredError struct {
	// IdempotencyKey is that of the request, "" if it had none. An order that
	// is sent again under it within 24 hours is placed once.
	IdempotencyKey string
	// Err is the cause.
	Err error
}

// Error returns the cause and the idempotency key.
func (e *UnansweredError) Error() string {
	text := "no response: " + e.Err.Error()
	if e.IdempotencyKey != "" {
		text += " (Idempotency-Key " + e.IdempotencyKey + ")"
	}
	return text
}

// Timeout reports whether the cause is a timeout.
func (e *UnansweredError) Timeout() bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.Err)
	return ok && timeout.Timeout()
}

// Unwrap returns the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// failure returns the error of a request that isn't sent again.
func failure(request *http.Request, err error, maybeDone bool) error {
	if !maybeDone {
		return err
	}
	return &UnansweredError{IdempotencyKey: request.Header.Get(idempotencyKey), Err: err}
}

// keyOf returns the idempotency key of a response's request, "" if it has none.
func keyOf(response *http.Response) string {
	if response.Request == nil {
		return ""
	}
	return response.Request.Header.Get(idempotencyKey)
}
