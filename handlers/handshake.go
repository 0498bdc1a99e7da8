package handlers

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
)

// Sizes of the buffers of a WebSocket, in bytes. Most events fit into one write;
// clients send control frames only. net/http's take 4 KiB each.
const (
	socketWriteBuffer = 512
	socketReadBuffer  = 256
)

// handshake is the response writer of a WebSocket's handshake. It leaves errors to
// the middleware, which writes problems, and gives the connection small buffers.
type handshake struct {
	gin.ResponseWriter
	refused int // status; 0: none
}

// WriteHeader sends the status 101; another one is only recorded.
func (w *handshake) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = status
}

// Write discards the text of an error.
func (w *handshake) Write(text []byte) (int, error) { return len(text), nil }

// Hijack takes over the connection.
func (w *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffers, err := w.ResponseWriter.Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := buffers.Reader.Peek(buffers.Reader.Buffered()) // sent before the handshake has ended
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), max(socketReadBuffer, len(early)))
	_, _ = reader.Peek(len(early)) // the library takes what is buffered
	bounded := boundConn{conn}
	return bounded, bufio.NewReadWriter(reader, bufio.NewWriterSize(bounded, socketWriteBuffer)), nil
}

// boundConn is a connection each of whose writes has a deadline.
type boundConn struct{ net.Conn }

// Write writes p within streamWriteTimeout.
func (c boundConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(streamWriteTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// handshakeError is a refused handshake.
type handshakeError struct {
	status       int
	code, detail string
}

// Error returns the detail.
func (e *handshakeError) Error() string { return e.detail }

// HTTPStatus returns the status of the response.
func (e *handshakeError) HTTPStatus() int { return e.status }

// Code returns the code of the problem.
func (e *handshakeError) Code() string { return e.code }

// acceptWebSocket upgrades the connection of a request. Pages of the request's own
// host and of origins may open WebSockets; other clients send no Origin. Errors: a
// *handshakeError.
func acceptWebSocket(c *gin.Context, origins []string) (*websocket.Conn, error) {
	w := &handshake{ResponseWriter: c.Writer}
	conn, err := websocket.Accept(w, c.Request, &websocket.AcceptOptions{
		OriginPatterns: originPatterns(origins), InsecureSkipVerify: slices.Contains(origins, "*"), // no cookies are used
	})
	switch {
	case err == nil:
		return conn, nil
	case w.refused == http.StatusForbidden:
		return nil, &handshakeError{http.StatusForbidden, "origin_not_allowed", "Pages of this origin may not open WebSockets here. The operator can allow it with CORS_ORIGINS."}
	case w.refused == http.StatusBadRequest:
		return nil, &handshakeError{http.StatusBadRequest, "malformed_request", "The WebSocket handshake is not valid: send one Sec-WebSocket-Key of 16 bytes in base64, and Sec-WebSocket-Version 13."}
	default:
		c.Header("Upgrade", "websocket")
		c.Header("Connection", "Upgrade")
		return nil, &handshakeError{http.StatusUpgradeRequired, "upgrade_required", "This is a WebSocket: connect with a WebSocket client. The same events can be polled without /ws."}
	}
}

// originPatterns returns patterns of path.Match that match just the origins.
func originPatterns(origins []string) []string {
	escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
	patterns := make([]string, len(origins))
	for i, origin := range origins {
		patterns[i] = escape.Replace(origin)
	}
	return patterns
}
