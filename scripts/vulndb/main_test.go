package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for id, text := range map[string]string{
		"GO-1": `{"id":"GO-1","modified":"2026-01-02T00:00:00Z","aliases":["CVE-1"],"affected":[
			{"package":{"name":"example.org/b"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]},
			{"package":{"name":"example.org/b"},"ranges":[{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.1"}]}]}]}`,
		"GO-2": `{"id":"GO-2","modified":"2026-03-04T00:00:00Z","affected":[{"package":{"name":"example.org/a"}},{"package":{"name":"example.org/b"}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(from, id+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(from, to); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"index/db.json": `{"modified":"2026-03-04T00:00:00Z"}`,
		"index/modules.json": `[{"path":"example.org/a","vulns":[{"id":"GO-2","modified":"2026-03-04T00:00:00Z"}]},` +
			`{"path":"example.org/b","vulns":[{"id":"GO-1","modified":"2026-01-02T00:00:00Z","fixed":"2.0.1"},{"id":"GO-2","modified":"2026-03-04T00:00:00Z"}]}]`,
		"index/vulns.json": `[{"id":"GO-1","modified":"2026-01-02T00:00:00Z","aliases":["CVE-1"]},{"id":"GO-2","modified":"2026-03-04T00:00:00Z"}]`,
	} {
		if got, err := os.ReadFile(filepath.Join(to, file)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", file, got, err, want)
		}
	}
	if copied, err := os.ReadFile(filepath.Join(to, "ID/GO-1.json")); err != nil || !strings.Contains(string(copied), "1.2.3") {
		t.Errorf("GO-1: %s, %v", copied, err)
	}
	if err := write(t.TempDir(), to); err == nil {
		t.Error("a folder without OSV files is accepted")
	}
}
