package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

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

// TestSavedCounters_Stop_after_an_interrupted_one checks that what a killed stop
// leaves doesn't stay.
func TestSavedCounters_Stop_after_an_interrupted_one(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "counters")
	if err := os.WriteFile(path+".new", make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newSavedCounters(t, path).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 1 {
		t.Fatalf("files: %v, %v, want one", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	started := &savedCounters{store: memory.New(), path: path, log: slog.New(slog.DiscardHandler), now: time.Now}
	if err := started.Start(context.Background()); err != nil || started.store.Len() != 1 {
		t.Errorf("read %d subjects, %v, want 1", started.store.Len(), err)
	}
}
