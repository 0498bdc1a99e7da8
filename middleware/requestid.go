package middleware

import (
	"crypto/rand"
	"net/http"
)

const requestIDHeader = "X-Request-Id"

// maxRequestID is in characters; a longer id of the caller's is replaced, as
// one is that could break a log line or holds an API key.
const maxRequestID = 64

// requestID returns the caller's id for the request if it is usable, and else
// a new random one.
func requestID(h http.Header) string {
	if id := h.Get(requestIDHeader); id != "" && len(id) <= maxRequestID && isPrintable(id) && !holdsSecret(id) {
		return id
	}
	return "req_" + rand.Text()
}

// isPrintable reports whether s consists of printable ASCII characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
