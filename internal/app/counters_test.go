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

func TestSavedCounters_interrupted(t *testing.T) {
	folder := t.TempDir()
	c := &savedCounters{store: memory.New(), path: filepath.Join(folder, "counters"), now: time.Now, log: slog.New(slog.DiscardHandler)}
	if err := os.WriteFile(c.path+".unfinished", []byte("of a stop that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 1 || files[0].Name() != "counters" {
		t.Errorf("got %v, %v; want only the saved counters", files, err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Error(err)
	}
}
