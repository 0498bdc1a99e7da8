package server

import (
	"net/http"
	"strings"

	"ratelimiter/handlers"
)

// Ends of the paths of the routes with Stream.
const (
	eventsPath = "/events"
	socketPath = "/events/ws"
)

// isStream reports whether the response to a request is a stream of Server-Sent
// Events or a WebSocket, unless it is an error. It is called for all requests, also
// before they are routed.
func isStream(r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet:
		return false
	case strings.HasSuffix(r.URL.Path, socketPath):
		return r.Header["Upgrade"] != nil
	default:
		return strings.HasSuffix(r.URL.Path, eventsPath) && handlers.PrefersEventStream(r.Header)
	}
}
