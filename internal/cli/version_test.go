package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// ownFiles are the folders of embedded files that are part of this project.
var ownFiles = []string{"docs/openapi.json", "docs/pages", "docs/adr", "docs/concepts", "docs/guide", "docs/README.md", "docs/dependencies.md",
	"docs/glossary.md", "docs/private-postgres.md", "docs/security.md", "migrations", "ratelimit/redis/lua"}

// Every embedded file is the project's own or in the folder of an asset, whose
// license "version --licenses" lists.
func TestAssets_cover_embedded_files(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		`{{if and .Module .Module.Main}}{{$p := .ImportPath}}{{range .EmbedFiles}}{{$p}}/{{.}}{{"\n"}}{{end}}{{end}}`, ".")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for file := range strings.Lines(string(out)) {
		file = strings.TrimPrefix(strings.TrimSpace(file), "ratelimiter/")
		within := func(folder string) bool { return file == folder || strings.HasPrefix(file, folder+"/") }
		if slices.ContainsFunc(ownFiles, within) {
			continue
		}
		i := slices.IndexFunc(assets, func(a asset) bool { return within(a.Folder) })
		if i < 0 {
			t.Errorf("%s is embedded: add its folder to assets, with its license, or to ownFiles", file)
			continue
		}
		used[assets[i].Folder] = true
	}
	for _, a := range assets {
		if !used[a.Folder] {
			t.Errorf("nothing of %s is embedded", a.Folder)
		}
	}
}
