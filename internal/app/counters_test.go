package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ratelimiter/ratelimit/memory"
)

// TestSavedCounters_unwritable checks that a server without a writable DATA_DIR,
// which a production server doesn't need, stops in order.
func TestSavedCounters_unwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	c := &savedCounters{
		store: memory.New(), path: filepath.Join(file, "data", "counters"), now: time.Now,
		log: slog.New(slog.NewTextHandler(&logged, nil)),
	}
	if err := c.Start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Stop(t.Context()); err != nil || !strings.Contains(logged.String(), "counters not saved") {
		t.Errorf("got %v, log %s", err, &logged)
	}
}
