package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every embedded asset has a license file, and its README states the version.
func TestAssets(t *testing.T) {
	for _, a := range assets {
		folder := filepath.Join("../..", a.Folder)
		if licenses, err := filepath.Glob(filepath.Join(folder, "LICENSE*")); err != nil || len(licenses) == 0 {
			t.Errorf("%s has no license file", a.Folder)
		}
		readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
		if err != nil || !strings.Contains(string(readme), a.Version) {
			t.Errorf("%s/README.md doesn't state version %s: %v", a.Folder, a.Version, err)
		}
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"version", "--licenses", "--json"}, &out, t.Output()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var got buildVersion
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !strings.HasPrefix(got.Go, "go1.") || got.Version == "" || len(got.Assets) != len(assets) {
		t.Errorf("%s: %+v, %v", out.Bytes(), got, err)
	}
	out.Reset()
	if code := Run(t.Context(), []string{"version", "--licenses"}, &out, t.Output()); code != 0 || !strings.Contains(out.String(), "Noto Sans       2.004    OFL-1.1") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}
