package testkit

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"ratelimiter/internal/postgres"
)

func TestLeftoversAreRemoved(t *testing.T) {
	parent := t.TempDir()
	folder := func(name string, age time.Duration) string {
		path := filepath.Join(parent, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		lock := filepath.Join(path, "owner.lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Now().Add(-age)
		if err := os.Chtimes(lock, written, written); err != nil {
			t.Fatal(err)
		}
		return path
	}
	left := folder(folderPrefix+"left", time.Hour)
	folder(folderPrefix+"new", 0)
	folder("other", time.Hour)
	used := folder(folderPrefix+"used", time.Hour)
	ownership, err := postgres.Own(t.Context(), used)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ownership.Release() }()
	written := time.Now().Add(-time.Hour) // a long run
	if err := os.Chtimes(filepath.Join(used, "owner.lock"), written, written); err != nil {
		t.Fatal(err)
	}

	removeLeftovers(t.Context(), parent)
	if _, err := os.Stat(left); err == nil {
		t.Error("what a killed cluster left is still there")
	}
	if kept, err := os.ReadDir(parent); err != nil || len(kept) != 3 {
		t.Errorf("kept %v, %v; want the new one, the used one and another program's", kept, err)
	}
}
