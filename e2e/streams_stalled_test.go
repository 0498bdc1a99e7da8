package e2e

import (
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// A client that doesn't read is disconnected, and delays nobody.
func TestStreams_stalled_readers(t *testing.T) {
	const stalled, events = 100, 2000
	f := newFollower(t, models.NewKey{})
	before := runtime.NumGoroutine()
	for i := range stalled {
		if i%2 == 0 {
			dialStalled(t, f.Base(), "GET "+f.path()+" HTTP/1.1\r\nHost: x\r\nX-API-Key: "+f.key+"\r\nAccept: text/event-stream\r\n\r\n")
		} else {
			dialStalled(t, f.Base(), "GET "+f.path()+"/ws HTTP/1.1\r\nHost: x\r\nX-API-Key: "+f.key+
				"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		}
	}
	f.await("all streams are open", func() bool { return f.metric("ratelimiter_event_streams_open") == strconv.Itoa(stalled) })
	conn, stream := f.socket(f.path()+"/ws"), f.caller.Stream(f.path())
	f.append(slices.Repeat([]models.EventType{models.EventStockReserved}, events)...)
	for seq := int64(1); seq <= 1+events; seq++ {
		if got := nextFrame(t, conn); got.Seq != seq {
			t.Fatalf("the WebSocket got event %d; want %d", got.Seq, seq)
		}
		if got := nextEvent(t, stream); !strings.Contains(got.Data, `"seq":`+strconv.FormatInt(seq, 10)+",") {
			t.Fatalf("the stream got %s; want event %d", got.Data, seq)
		}
	}
	if got := f.metric("ratelimiter_event_streams_open"); got != strconv.Itoa(stalled+2) {
		t.Logf("%s streams are open", got) // the first ones were cut already
	}
	ctx := conn.CloseRead(context.Background()) // answers pings
	testkit.Await(t, 2*time.Minute, "only the two that read are open", func() bool { return f.metric("ratelimiter_event_streams_open") == "2" })
	// A write took too long, a ping wasn't answered, or the kernel gave up (client).
	for line := range strings.Lines(f.metrics()) {
		if strings.HasPrefix(line, "ratelimiter_event_streams_ended_total") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if ctx.Err() != nil {
		t.Error("a stream that reads was closed")
	}
	_ = conn.CloseNow()
	stream.Close()
	f.await("no stream's goroutine is left", func() bool { return runtime.NumGoroutine() < before+20 }) // connections of this test are kept open
}

// dialStalled sends a request on a connection that receives little and isn't read.
func dialStalled(t *testing.T, base, request string) {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
}
