package app

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ratelimiter/internal/apikeys"
	"ratelimiter/internal/config"
	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
)

func testConfig(t *testing.T) *config.Config {
	t.Helper()
	peppers, err := apikeys.ParsePeppers("v1:a pepper for tests only")
	if err != nil {
		t.Fatal(err)
	}
	return &config.Config{
		HTTPAddr: "127.0.0.1:0", OpsAddr: "127.0.0.1:0", DataDir: t.TempDir(), CacheTTL: time.Minute, CacheStale: time.Minute,
		Headers: middleware.FieldsDraft11, Peppers: peppers,
	}
}

// newTestApp returns an App on a private Postgres that isn't started.
func newTestApp(t *testing.T) *App {
	t.Helper()
	a, err := New(testConfig(t), Options{Log: slog.New(slog.DiscardHandler), Out: io.Discard, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApp_Run(t *testing.T) {
	url := testkit.DatabaseURL(t)
	before := goleak.IgnoreCurrent()
	cfg := testConfig(t)
	cfg.DatabaseURL = url
	a, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); a.readiness.NotReady(ctx) != ""; {
		if time.Now().After(deadline) {
			t.Fatal("not ready")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	goleak.VerifyNone(t, before)
}

func TestApp_Run_ends_when_a_server_fails(t *testing.T) {
	cfg := testConfig(t)
	cfg.DatabaseURL = testkit.DatabaseURL(t)
	a, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = a.api.listener.Close()
	err = <-a.failed
	if err == nil || !strings.Contains(err.Error(), "API server") {
		t.Errorf("failure %v", err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestApp_Start_fails_early_on_an_address_in_use(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t)
	cfg.DatabaseURL, cfg.HTTPAddr = "postgres://nobody@127.0.0.1:1/none", taken.Addr().String()
	a, err := New(cfg, Options{Log: slog.New(slog.DiscardHandler), Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "HTTP_ADDR") {
		t.Errorf("Run: %v", err)
	}
}
