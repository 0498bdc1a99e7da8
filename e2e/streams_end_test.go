package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// The streams of a key that can't be used any more end within the published bound.
func TestStreams_revoked_key(t *testing.T) {
	for _, test := range []struct {
		change, body string
		reason       string
	}{
		{"revoke", "", "key_invalid"},
		{"suspend", "", "key_suspended"},
		{"", `{"scopes":["orders:write"]}`, "scope_missing"},
		{"", `{"ip_allow":["198.51.100.0/24"]}`, "address_not_allowed"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			f := newFollower(t, models.NewKey{})
			admin := newApp(t, onDatabase(f.db.Config().ConnString()), watching()).admin()
			conn, stream, other := f.socket("/v1/events/ws"), f.caller.Stream("/v1/events"), open(t, f.caller2(), "/v1/events/ws")
			nextFrame(t, conn)
			nextEvent(t, stream)
			began := time.Now()
			path := "/v1/admin/keys/" + idOf(f.key)
			if test.change != "" {
				admin.Post(path+"/"+test.change, nil).Want(http.StatusOK)
			} else {
				admin.Do(http.MethodPatch, path, test.body, "Content-Type", "application/merge-patch+json").Want(http.StatusOK)
			}
			_, err := testkit.ReadFrame(t.Context(), conn)
			if websocket.CloseStatus(err) != websocket.StatusPolicyViolation || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got %v; want 1008 %s", err, test.reason)
			}
			last, err := stream.Next()
			for err == nil && last.Comment == "" {
				last, err = stream.Next()
			}
			if last.Comment != test.reason {
				t.Errorf("got %+v, error %v; want a comment %s", last, err, test.reason)
			}
			if _, err := stream.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("got error %v; want the end of the stream", err)
			}
			t.Logf("ended within %s", time.Since(began))
			if err := other.Ping(readingContext(t, other)); err != nil {
				t.Errorf("the stream of another key: %v", err)
			}
		})
	}
}

// readingContext reads from a WebSocket, so that pongs arrive, until the test ends.
func readingContext(t *testing.T, conn *websocket.Conn) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return conn.CloseRead(ctx)
}

// Open streams hold the concurrency slots of their key over all ways, until their
// connection is closed, however that happens.
func TestStreams_hold_slots(t *testing.T) {
	ends := map[string]func(conn net.Conn){
		"closed": func(conn net.Conn) { _ = conn.Close() },
		"reset":  func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0); _ = conn.Close() },
	}
	for _, redis := range []bool{false, true} {
		var options []appOption
		name := "memory"
		if redis {
			name = "Redis"
			options = append(options, withRedis(testkit.Redis(t).URL()), withPatience(), onWallClock())
		}
		t.Run(name, func(t *testing.T) {
			f := newFollower(t, models.NewKey{Owner: "o"}, options...)
			f.plan("slots", `[{"name":"parallel","algorithm":"concurrency","limit":2,"hold":"1s"}]`)
			key := f.testApp.key(models.NewKey{Owner: "o", Plan: "slots", Scopes: []models.Scope{models.ScopeOrdersRead}})
			for how, end := range ends {
				sse := dialRaw(t, f.Base(), "/v1/events", key, "Accept: text/event-stream")
				socket := dialRaw(t, f.Base(), "/v1/events/ws", key, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
				slot := func() int { return f.As(key).Get("/v1/orders?limit=1").Status }
				if redis { // longer than their hold, so that they must be renewed
					for began := time.Now(); time.Since(began) < 2*time.Second; {
						if got := slot(); got != http.StatusTooManyRequests {
							t.Fatalf("%s: got status %d after %s, while both slots are held", how, got, time.Since(began))
						}
					}
				} else if got := slot(); got != http.StatusTooManyRequests {
					t.Fatalf("%s: got status %d, while both slots are held", how, got)
				}
				for _, conn := range []net.Conn{sse, socket} {
					end(conn)
					f.await("the slot is free", func() bool { return slot() == http.StatusOK })
					if conn == sse {
						sse = dialRaw(t, f.Base(), "/v1/events", key, "Accept: text/event-stream")
						defer func() { _ = sse.Close() }()
					}
				}
				_ = sse.Close()
				f.await("all slots are free", func() bool { return strings.Contains(f.metrics(), "ratelimiter_event_streams_open 0\n") })
			}
		})
	}
}

// dialRaw opens a stream on a connection of its own and reads its header.
func dialRaw(t testing.TB, base, path, key string, header ...string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key+"\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4<<10)
	n, err := conn.Read(buffer)
	if answer := string(buffer[:n]); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") && !strings.HasPrefix(answer, "HTTP/1.1 101") {
		t.Fatalf("got %s, error %v", answer, err)
	}
	return conn
}

// At the stop, streams end one after another with the reason, and leave nothing
// behind.
func TestStreams_drain(t *testing.T) {
	f := newFollower(t, models.NewKey{})
	before := runtime.NumGoroutine()
	const open = 50
	var clients sync.WaitGroup
	var mu sync.Mutex
	var ended []time.Time
	for range open {
		conn, stream := f.socket(f.path()+"/ws"), f.caller.Stream(f.path())
		clients.Go(func() {
			var err error
			for err == nil {
				_, err = testkit.ReadFrame(t.Context(), conn)
			}
			if websocket.CloseStatus(err) != websocket.StatusGoingAway || !strings.Contains(err.Error(), "shutdown") {
				t.Errorf("got %v; want 1001 shutdown", err)
			}
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, time.Now())
		})
		clients.Go(func() {
			var last testkit.Message
			for {
				m, err := stream.Next()
				if err != nil {
					break
				}
				last = m
			}
			if last.Comment != "shutdown" {
				t.Errorf("got %+v; want a comment shutdown", last)
			}
		})
	}
	began := time.Now()
	if err := f.app.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	clients.Wait()
	t.Logf("%d streams ended within %s", 2*open, time.Since(began))
	if spread := ended[len(ended)-1].Sub(ended[0]); spread < open*10*time.Millisecond {
		t.Errorf("they ended within %s; want them spread", spread)
	}
	f.await("no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}
