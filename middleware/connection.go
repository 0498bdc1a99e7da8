package middleware

import (
	"context"
	"net"
	"time"
)

// Bounds of the connection of a stream.
const (
	// streamSendBuffer is what the kernel keeps of what a slow reader hasn't
	// acknowledged, in bytes: some 200 events. Linux reserves twice as much. Without
	// it that is up to 4 MB.
	streamSendBuffer = 64 << 10
	// streamUserTimeout is how long sent data may stay unacknowledged until the
	// connection counts as lost; a client that reads nothing acknowledges nothing. Otherwise Linux retransmits for a quarter of an hour.
	streamUserTimeout = 20 * time.Second
)

type connectionKey struct{}

// WithConnection returns a context of the requests on a connection, for
// http.Server.ConnContext.
func WithConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// boundConnection bounds what the connection of a stream takes. A failure leaves the
// kernel's defaults.
func boundConnection(ctx context.Context) {
	if conn, ok := ctx.Value(connectionKey{}).(*net.TCPConn); ok {
		_ = conn.SetWriteBuffer(streamSendBuffer)
		setUserTimeout(conn, streamUserTimeout)
	}
}
