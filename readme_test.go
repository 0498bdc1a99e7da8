package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// varying is what differs from one run of the README's quickstart to the next.
var varying = []struct{ pattern, with string }{
	{`(?m)^(X-Request-Id|Date|Content-Length): .*$`, "$1: *"},
	{`;t=\d+`, ";t=*"},
	{`"updated_at":"[^"]*Z"`, `"updated_at":"*"`},
	{`"id":"[0-9A-Za-z]{12}"`, `"id":"*"`},
	{`rl_live_[^"]*`, "rl_live_*"},
}

func withoutVarying(s string) string {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\r", ""))
	for _, v := range varying {
		s = regexp.MustCompile(v.pattern).ReplaceAllString(s, v.with)
	}
	return s
}

// step is one command of a transcript and what it prints.
type step struct{ command, output string }

// transcript returns the steps of the README's console blocks.
func transcript(t *testing.T) []step {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, output, _ := strings.Cut(part, "\n")
			steps = append(steps, step{command, output})
		}
	}
	return steps
}

// The quickstart of the README is what happens, to the letter but for times
// and random ids.
func TestTheReadmesQuickstartIsWhatHappens(t *testing.T) {
	recipe, err := exec.Command("make", "--dry-run", "run").Output()
	if err != nil || !strings.Contains(string(recipe), "bin/ratelimiter serve --dev") {
		t.Fatalf("make run does not start the server in dev mode: %v\n%s", err, recipe)
	}
	dir := t.TempDir()
	server := serveProcess(t, "DATA_DIR="+filepath.Join(dir, ".data"))
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "bin", "ratelimiter")); err != nil {
		t.Fatal(err)
	}
	steps := transcript(t)
	if len(steps) < 3 {
		t.Fatalf("the README's transcript has %d steps", len(steps))
	}
	before := "set -e\n"
	for _, s := range steps {
		run := strings.ReplaceAll(s.command, "localhost:8080", strings.TrimPrefix(server.Base(), "http://"))
		shell := exec.Command("bash", "-c", before+run)
		shell.Dir = dir
		shell.Env = append(os.Environ(), "DATA_DIR="+filepath.Join(dir, ".data"))
		output, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("$ %s\n%v\n%s", run, err, output)
		}
		if got, want := withoutVarying(string(output)), withoutVarying(s.output); got != want {
			t.Errorf("$ %s\nprints\n%s\nthe README says\n%s", run, got, want)
		}
		if strings.HasPrefix(s.command, "KEY=") {
			before += run + "\n"
		}
	}
}

// The worked timeline of the README, line by line.
func TestTheReadmesTimelineIsWhatHappens(t *testing.T) {
	app := newApp(t)
	caller := app.caller("free")
	send := func(n int, every time.Duration) (passed int, fields string) {
		for range n {
			answer := caller.Get("/v1/products/prd_0y5apuf8zs")
			if answer.Status == http.StatusOK {
				passed++
			}
			fields = answer.Header.Get("RateLimit")
			app.clock.Advance(every)
		}
		return passed, fields
	}
	check := func(at string, passed, want int, fields, prefix string) {
		t.Helper()
		if passed != want || !strings.HasPrefix(fields, prefix) {
			t.Errorf("at %s: %d passed, RateLimit %s; want %d, %s", at, passed, fields, want, prefix)
		}
	}
	passed, fields := send(20, 0)
	check("0.0 s", passed, 20, fields, `"burst";r=0;t=2, "minute";r=280;`)
	passed, fields = send(1, 0)
	check("0.0 s", passed, 0, fields, `"burst";r=0;t=2, "minute";r=280;`)
	app.clock.Advance(100 * time.Millisecond)
	passed, fields = send(1, 0)
	check("0.1 s", passed, 1, fields, `"burst";r=0;t=2, "minute";r=279;`)
	app.clock.Advance(30*time.Second - 100*time.Millisecond)
	passed, fields = send(290, 100*time.Millisecond)
	check("30 s", passed, 279, fields, `"burst";r=20;t=0, "minute";r=0;`)
}
