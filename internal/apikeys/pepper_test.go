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

func TestAPepperCanBeRotated(t *testing.T) {
	before := mustParse(t, "v1:"+oldSecret)
	mac, version := before.Hash("a key")
	after := mustParse(t, "v2:"+newSecret+", v1:"+oldSecret)
	if !after.Verify("a key", version, mac) {
		t.Error("a key hashed with the old pepper no longer verifies")
	}
	if _, version := after.Hash("a key"); version != "v2" {
		t.Errorf("new keys are hashed with %s; want v2", version)
	}
	dropped := mustParse(t, "v2:"+newSecret)
	if dropped.Verify("a key", version, mac) {
		t.Error("a key verifies under a pepper that was dropped")
	}
	if after.Verify("another key", version, mac) || after.Verify("a key", "v2", mac) {
		t.Error("a wrong key or a wrong version verifies")
	}
}

func TestASinglePepperNeedsNoVersion(t *testing.T) {
	mac, version := mustParse(t, oldSecret).Hash("a key")
	if version != "v1" || !mustParse(t, "v1:"+oldSecret).Verify("a key", "v1", mac) {
		t.Errorf("a bare secret counts as %s; want v1", version)
	}
}

func TestEveryFaultOfAPepperListIsTold(t *testing.T) {
	_, err := ParsePeppers("v1:short,v2:" + newSecret + ",v2:" + oldSecret + ",x:" + oldSecret + ",")
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"v1 is shorter", "v2 is repeated", "pepper 4 has no version", "pepper 5 has no version"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error doesn't say %q: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "short,") {
		t.Errorf("the error repeats a secret: %v", err)
	}
}

func TestDerivedSecretsDifferByLabel(t *testing.T) {
	p := mustParse(t, oldSecret)
	if bytes.Equal(p.Derive("a"), p.Derive("b")) || !bytes.Equal(p.Derive("a"), p.Derive("a")) {
		t.Error("Derive must depend on the label, and on nothing else")
	}
}

func TestOnePepperIsMadeAndKeptInTheDataFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new folder")
	if _, err := LoadPeppers(dir, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("PeppersIn without a pepper: %v", err)
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
			t.Fatal("several starts at once made several peppers")
		}
	}
	info, err := os.Stat(filepath.Join(dir, pepperFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the pepper's file: %v, %v; want mode 0600", info, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Fatalf("there are %d files; want the pepper alone", len(files))
	}
}
