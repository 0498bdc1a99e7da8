package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	routes "ratelimiter/internal/server"
	"ratelimiter/internal/testkit"
)

// A first start as by 'make run', a visit of every page with what it loads, health checks and a stop log
// no warning, no error and no request.
func TestLog_quiet(t *testing.T) {
	t.Parallel()
	server := serveProcess(t, "DATA_DIR="+t.TempDir())
	base := regexp.MustCompile(`http://\S+/docs`).FindString(server.greeting)
	paths := []string{"/favicon.ico"}
	for _, r := range routes.Routes(routes.Handlers{}) {
		if r.Public && !strings.Contains(r.Path, "*") {
			paths = append(paths, r.Path)
		}
	}
	loaded := regexp.MustCompile(`(?:src|href)="(/[^"]+)"`)
	for i := 0; i < len(paths); i++ {
		response, err := http.Get(strings.TrimSuffix(base, "/docs") + paths[i])
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, %v", paths[i], response.StatusCode, err)
		}
		if strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
			for _, link := range loaded.FindAllStringSubmatch(string(body), -1) {
				if !slices.Contains(paths, link[1]) {
					paths = append(paths, link[1])
				}
			}
		}
	}
	if len(paths) < 12 {
		t.Errorf("visited only %v", paths)
	}
	if code := server.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(server.stderr.String()), "\n")
	t.Logf("%d lines for %d requests", len(lines), len(paths))
	for _, text := range lines {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Level != "INFO" || line.Msg == "request" || strings.Contains(line.Msg, "expired partitions") {
			t.Errorf("logged %s, %v", text, err)
		}
	}
}

// The lines of requests wait a moment for each other. None is lost: they are written
// while nothing else happens, and at the latest by a stop in order.
func TestLog_requests(t *testing.T) {
	t.Parallel()
	const each = 20
	server := serveProcess(t, "DATA_DIR="+t.TempDir())
	send := func() {
		for range each {
			response, err := http.Get(server.Base() + "/nowhere")
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
	}
	logged := func() int { return strings.Count(server.stderr.String(), `"path":"/nowhere","status":404`) }
	send()
	testkit.Await(t, 10*time.Second, "the lines of a running server", func() bool { return logged() == each })
	send()
	if code := server.end(syscall.SIGTERM); code != 0 || logged() != 2*each {
		t.Errorf("exit code %d, %d lines; want %d", code, logged(), 2*each)
	}
	for line := range strings.Lines(server.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("logged %s", line)
		}
	}
}
