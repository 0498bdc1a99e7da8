package app

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
)

// connection sends requests on one connection.
type connection struct {
	t *testing.T
	net.Conn
	responses *bufio.Reader
}

func connect(t *testing.T, addr net.Addr) *connection {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &connection{t, conn, bufio.NewReader(conn)}
}

// get sends GET path and fails the test unless the response has this status, and
// Connection: close if closes.
func (c *connection) get(path string, status int, closes bool) {
	c.t.Helper()
	_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.ReadResponse(c.responses, nil)
	if err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != status || response.Close != closes || err != nil {
		c.t.Errorf("%s: status %d, closes: %v, error %v; want %d, %v", path, response.StatusCode, response.Close, err, status, closes)
	}
}

// await polls a condition, for at most 20 s.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timeout")
		}
	}
}

// During the delay the App isn't ready but serves everybody, on old connections
// and new ones, each for one response. A second signal or a failure ends it.
func TestApp_Run_shutdown_delay(t *testing.T) {
	errBroken := errors.New("broken")
	for _, failure := range []error{nil, errBroken} {
		cfg := testConfig(t)
		cfg.DatabaseURL, cfg.ShutdownDelay = testkit.DatabaseURL(t), time.Hour
		a, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		await(t, func() bool { return a.readiness.NotReady(t.Context()) == "" })
		idle := connect(t, a.Addr())
		idle.get("/readyz", http.StatusOK, false)
		idle.get("/livez", http.StatusOK, false)

		cancel()
		await(t, func() bool { return a.readiness.NotReady(t.Context()) != "" })
		idle.get("/livez", http.StatusOK, true)
		connect(t, a.Addr()).get("/livez", http.StatusOK, true)
		connect(t, a.Addr()).get("/readyz", http.StatusServiceUnavailable, true)
		connect(t, a.OpsAddr()).get("/readyz", http.StatusServiceUnavailable, false)
		select {
		case err := <-ended:
			t.Fatalf("ended before the delay: %v", err)
		default:
		}
		if failure == nil {
			err = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		} else {
			a.fail(failure)
		}
		if got := <-ended; !errors.Is(got, failure) || err != nil {
			t.Errorf("Run: %v, %v; want %v", got, err, failure)
		}
		if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", a.Addr().String()); err == nil {
			t.Error("still listens")
		}
	}
}

func TestApp_delayStop(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH) // starts the runtime's goroutine, outside of the bubble
	defer signal.Stop(signals)
	for _, delay := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a := &App{log: slog.New(slog.DiscardHandler), readiness: newReadiness(nil, nil, nil), delay: delay, failed: make(chan error)}
			a.api.server = &server.HTTP{}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // by the first signal
			start := time.Now()
			if err := a.delayStop(ctx); err != nil || time.Since(start) != delay {
				t.Errorf("%v after %s; want nil after %s", err, time.Since(start), delay)
			}
		})
	}
}
