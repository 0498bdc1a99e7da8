package testkit

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestRemoveLeftovers(t *testing.T) {
	parent := t.TempDir()
	folder := func(name string, age time.Duration) (lock string) {
		lock = filepath.Join(parent, name, "owner.lock")
		if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Now().Add(-age)
		if err := os.Chtimes(lock, written, written); err != nil {
			t.Fatal(err)
		}
		return lock
	}
	left := folder(folderPrefix+"left", time.Hour)
	folder(folderPrefix+"new", 0)
	folder("other", time.Hour)
	used, err := os.Open(folder(folderPrefix+"used", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }()
	if err := syscall.Flock(int(used.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	removeLeftovers(parent)
	if _, err := os.Stat(left); err == nil {
		t.Error("the folder of a killed cluster still exists")
	}
	if kept, err := os.ReadDir(parent); err != nil || len(kept) != 3 {
		t.Errorf("kept %v, %v; want the new one, the used one and another program's", kept, err)
	}
}
