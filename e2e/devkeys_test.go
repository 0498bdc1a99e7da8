package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"ratelimiter/internal/postgres"
	"ratelimiter/internal/testkit"
)

// The command that dev mode prints shows five products and a 429 that says what
// happened, in numbers.
func TestDevKeys_tiny(t *testing.T) {
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+testkit.DatabaseURL(t))
	if key := readDevKeys(t, dir).Tiny; !strings.Contains(server.greeting, "Key to see a 429 with: "+key) {
		t.Errorf("the key %q isn't in\n%s", key, server.greeting)
	}
	command := regexp.MustCompile(`(?m)^  (for .*; done)$`).FindStringSubmatch(server.greeting)
	if command == nil {
		t.Fatalf("got no command in\n%s", server.greeting)
	}
	out, err := exec.Command("bash", "-c", command[1]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 12 || strings.Count(string(out), "\n200\n") != 5 || lines[11] != "429" {
		t.Fatalf("got\n%s\nwant five responses 200 and one 429", out)
	}
	if want := `policy \"minute\" has 0 of 5 units left; this request costs 1. Retry in `; !strings.Contains(lines[10], want) {
		t.Errorf("got %s; want %s", lines[10], want)
	}
}

// A folder of an earlier version gets the key once.
func TestDevKeys_tiny_is_added(t *testing.T) {
	dir, url := t.TempDir(), testkit.DatabaseURL(t)
	serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+url).end(syscall.SIGTERM)
	keys := readDevKeys(t, dir)
	db, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{`DELETE FROM api_keys WHERE name = 'tiny'`, `DELETE FROM plans WHERE name = 'tiny'`} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(map[string]string{"demo": keys.Demo, "admin": keys.Admin})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, devKeysFile), data, 0o600); err != nil {
		t.Fatal(err)
	}

	second := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+url)
	added := readDevKeys(t, dir)
	if added.Demo != keys.Demo || added.Admin != keys.Admin || added.Tiny == "" || added.Tiny == keys.Tiny {
		t.Fatalf("got keys %+v; want those of %+v with a new tiny", added, keys)
	}
	if !strings.Contains(second.greeting, "Key to see a 429 with: "+added.Tiny) {
		t.Errorf("the key isn't in\n%s", second.greeting)
	}
	if got := second.As(added.Tiny).Get("/v1/products").Want(http.StatusOK).Header.Get("RateLimit"); got != `"minute";r=4;t=60` {
		t.Errorf("got RateLimit %s", got)
	}
	second.end(syscall.SIGTERM)

	third := serveProcess(t, "DATA_DIR="+dir, "DATABASE_URL="+url)
	if readDevKeys(t, dir) != added || strings.Contains(third.greeting, "rl_live_") {
		t.Errorf("the third start changed the keys or shows one:\n%s", third.greeting)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "dev-keys?*.json")); len(kept) != 0 {
		t.Errorf("got files %v; want only %s", kept, devKeysFile)
	}
}
