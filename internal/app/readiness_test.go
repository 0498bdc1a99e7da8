package app

import (
	"context"
	"net/url"
	"testing"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// TestReadiness_hung_database checks that a check ends although nothing answers
// and the caller waits for ever.
func TestReadiness_hung_database(t *testing.T) {
	u, err := url.Parse(testkit.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := testkit.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	db, err := postgres.Open(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	r := newReadiness(db, func() bool { return false }, func() error { return nil })
	r.start()
	if reason := r.NotReady(t.Context()); reason != "" {
		t.Fatal(reason)
	}
	r.checkedAt = r.checkedAt.Add(-checkInterval)
	proxy.Freeze()
	if reason := r.NotReady(t.Context()); reason == "" {
		t.Error("a server whose database hangs is ready")
	}
}

func TestReadiness_canceled_caller(t *testing.T) {
	db, err := postgres.Open(t.Context(), testkit.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	r := newReadiness(db, func() bool { return false }, func() error { return nil })
	r.start()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if reason := r.NotReady(ctx); reason != "" {
		t.Errorf("a caller that hung up makes the server unready: %s", reason)
	}
}
