package middleware

import (
	"crypto/rand"
	"net/http"
	"strings"
)

const requestIDHeader = "X-Request-Id"

// maxRequestID is in characters. A longer id is replaced, as is one that could
// break a log line or contains an API key.
const maxRequestID = 64

// requestID returns the client's request id if it is usable, and otherwise a new
// random one.
func requestID(h http.Header) string {
	if id := h.Get(requestIDHeader); id != "" && len(id) <= maxRequestID && isPrintable(id) && !containsKey(id) {
		return id
	}
	return newRequestID()
}

// newRequestID returns "req_" and 130 random bits in base32, as rand.Text has them.
func newRequestID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [len("req_") + 26]byte
	random := id[copy(id[:], "req_"):]
	_, _ = rand.Read(random) // never fails
	for i, b := range random {
		random[i] = alphabet[b%32]
	}
	return string(id[:])
}

// isPrintable reports whether s consists of printable ASCII characters.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
