package apikeys

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const oldSecret, newSecret = "an old secret of some length", "a new secret of some length"

func mustParse(t *testing.T, list string) *Peppers {
	t.Helper()
	p, err := ParsePeppers(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPeppers_rotation(t *testing.T) {
	before := mustParse(t, "v1:"+oldSecret)
	mac, version := before.Hash("a key")
	after := mustParse(t, "v2:"+newSecret+", v1:"+oldSecret)
	if !after.Verify("a key", version, mac) {
		t.Error("a key hashed with the old pepper doesn't verify")
	}
	if _, version := after.Hash("a key"); version != "v2" {
		t.Errorf("new keys are hashed with %s; want v2", version)
	}
	removed := mustParse(t, "v2:"+newSecret)
	if removed.Verify("a key", version, mac) {
		t.Error("a key verifies under a removed pepper")
	}
	if after.Verify("another key", version, mac) || after.Verify("a key", "v2", mac) {
		t.Error("a wrong key or a wrong version verifies")
	}
}

func TestParsePeppers_without_version(t *testing.T) {
	mac, version := mustParse(t, oldSecret).Hash("a key")
	if version != "v1" || !mustParse(t, "v1:"+oldSecret).Verify("a key", "v1", mac) {
		t.Errorf("a secret without version: got version %s; want v1", version)
	}
}

func TestParsePeppers_faults(t *testing.T) {
	_, err := ParsePeppers("v1:short,v2:" + newSecret + ",v2:" + oldSecret + ",x:" + oldSecret + ",")
	if err == nil {
		t.Fatal("got nil; want an error")
	}
	for _, part := range []string{"v1 is shorter", "v2 is repeated", "pepper 4 has no version", "pepper 5 has no version"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got error %[2]v; want it to contain %[1]q", part, err)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "short,") {
		t.Errorf("the error contains a secret: %v", err)
	}
}

func TestPeppers_Derive(t *testing.T) {
	p := mustParse(t, oldSecret)
	if bytes.Equal(p.Derive("a"), p.Derive("b")) || !bytes.Equal(p.Derive("a"), p.Derive("a")) {
		t.Error("Derive must depend on the label only")
	}
}

func TestLoadPeppers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new folder")
	if _, err := LoadPeppers(dir, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("LoadPeppers without a pepper: got %v; want fs.ErrNotExist", err)
	}
	macs := make([][]byte, 8)
	var starts sync.WaitGroup
	for i := range macs {
		starts.Go(func() {
			p, err := LoadPeppers(dir, true)
			if err != nil {
				t.Error(err)
				return
			}
			macs[i], _ = p.Hash("a key")
		})
	}
	starts.Wait()
	for _, mac := range macs {
		if !bytes.Equal(mac, macs[0]) {
			t.Fatal("concurrent calls created different peppers")
		}
	}
	info, err := os.Stat(filepath.Join(dir, pepperFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("pepper file: got %v, error %v; want mode 0600", info, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Fatalf("got %d files; want only the pepper", len(files))
	}
}
