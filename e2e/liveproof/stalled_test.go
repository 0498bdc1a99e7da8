package liveproof

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
)

// Clients that don't read don't keep others from the events of the same order. The
// others' latency is logged: with and without those who don't read.
func TestProof_stalled(t *testing.T) {
	s := openShop(t, 1, 1)
	server, order := s.servers[0], s.orders[0]
	w := &watchers{}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	const readers, events, burst = 20, 30, 2000
	for i := range readers {
		f := &follower{http: &http.Client{Transport: transport}, key: s.keys[order.Owner], stream: order, take: w.take}
		running.Go(func() { w.watch(ctx, f, ways[1+i%3], server.base) })
	}
	add := func(n int) {
		if err := postgres.InTx(t.Context(), s.db, func(tx pgx.Tx) error { return appendEvents(t.Context(), tx, order, n) }); err != nil {
			t.Fatal(err)
		}
	}
	addSlowly := func() {
		for range events {
			add(1)
			time.Sleep(benchEvery)
		}
	}
	p99 := func(what string, sent int) {
		await(t, "all events have arrived", func() bool { return w.received() >= readers*sent })
		w.mu.Lock()
		defer w.mu.Unlock()
		slices.Sort(w.latencies)
		n := len(w.latencies)
		if n != readers*sent {
			t.Errorf("%s: got %d events; want %d", what, n, readers*sent)
		}
		t.Logf("%s: latency p50 %s, p99 %s", what, w.latencies[n/2].Round(100*time.Microsecond), w.latencies[n*99/100].Round(100*time.Microsecond))
		w.latencies = nil
	}
	add(1)
	p99("at first", 2) // and that the order was placed
	addSlowly()
	p99("without stalled clients", events)
	for i := range *proofStalled {
		request := "GET " + "/v1/orders/" + order.Order + "/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
		if i%2 == 0 {
			request = "GET " + "/v1/orders/" + order.Order + "/events/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
		}
		dialStalled(t, server, request+"X-API-Key: "+s.keys[order.Owner]+"\r\n\r\n")
	}
	await(t, "all streams are open", func() bool {
		return server.metric("ratelimiter_event_streams_open") >= float64(*proofStalled)
	})
	add(burst) // fills their buffers
	p99("burst", burst)
	addSlowly()
	p99("with stalled clients", events)
}

// dialStalled sends a request on a connection that receives little and isn't read.
func dialStalled(t *testing.T, server *server, request string) {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(server.base, "http://"))
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, request)
	}
	if err != nil {
		t.Fatal(err)
	}
}
