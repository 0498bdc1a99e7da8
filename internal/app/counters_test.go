package app

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ratelimiter/ratelimit"
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

// newSavedCounters returns a component of a store with one counter.
func newSavedCounters(t *testing.T, path string) *savedCounters {
	t.Helper()
	store := memory.New()
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "w", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "1d"}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var r ratelimit.Reservation
	if err := ratelimit.New(store).Reserve(t.Context(), &r, quota, "", 1); err != nil {
		t.Fatal(err)
	}
	return &savedCounters{store: store, path: path, log: slog.New(slog.DiscardHandler), now: time.Now}
}

// TestSavedCounters_Start_keeps_no_file checks that counters whose file can't be
// removed aren't read: after a crash they would be read again, as an older state.
func TestSavedCounters_Start_keeps_no_file(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a file that root can't remove")
	}
	path := filepath.Join(t.TempDir(), "counters")
	if err := newSavedCounters(t, path).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	started := &savedCounters{store: memory.New(), path: fmt.Sprintf("/proc/self/fd/%d", file.Fd()), log: slog.New(slog.DiscardHandler), now: time.Now}
	if err := started.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := started.store.Len(); n != 0 {
		t.Errorf("%d subjects were read from a file that stays", n)
	}
}
