package binding

import "net/http"

// Error is a request that can't be read at all: its status is 400, 406, 413 or
// 415.
type Error struct {
	status int
	code   string
	detail string
}

// Error returns a sentence for the client.
func (e *Error) Error() string { return e.detail }

// HTTPStatus returns the status of the response.
func (e *Error) HTTPStatus() int { return e.status }

// Code returns the code of the problem.
func (e *Error) Code() string { return e.code }

// malformed returns the error of input that can't be parsed.
func malformed(detail string) error {
	return &Error{http.StatusBadRequest, "malformed_request", detail}
}
