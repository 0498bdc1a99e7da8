package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestREADME_quickstart(t *testing.T) {
	t.Parallel()
	recipe, err := exec.Command("make", "-C", "..", "--dry-run", "run").Output()
	if err != nil || !strings.Contains(string(recipe), "bin/ratelimiter serve --dev") {
		t.Fatalf("make run doesn't start the server in dev mode: %v\n%s", err, recipe)
	}
	if n := runPage(t, "../README.md"); n < 3 { // on a private Postgres
		t.Fatalf("got a transcript of %d steps; want at least 3", n)
	}
}

// Each row of the timeline in the README must match the responses.
func TestREADME_timeline(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t)
	caller := app.caller("free")
	remaining := regexp.MustCompile(`"burst";r=(\d+);t=\d+, "minute";r=(\d+);`)
	send := func(n int, every time.Duration) (allowed, refused int, burst, minute string) {
		for range n {
			response := caller.Get("/v1/products/prd_0y5apuf8zs")
			if response.Status == http.StatusOK {
				allowed++
			} else {
				response.Want(http.StatusTooManyRequests)
				refused++
			}
			left := remaining.FindStringSubmatch(response.Header.Get("RateLimit"))
			burst, minute = left[1], left[2]
			app.clock.Advance(every)
		}
		return allowed, refused, burst, minute
	}
	wantRow := func(format string, values ...any) {
		t.Helper()
		if row := fmt.Sprintf(format, values...); !strings.Contains(string(readme), row) {
			t.Errorf("the README has no row %q", row)
		}
	}
	allowed, _, burst, minute := send(20, 0)
	wantRow("| 0.0 s | 20 at once | %d × 200 | %s of 20 | %s of 300 |", allowed, burst, minute)
	_, refused, burst, minute := send(1, 0)
	wantRow("| 0.0 s | %d more | 429, `retry_after` 0.1 | %s | %s |", refused, burst, minute)
	app.clock.Advance(100 * time.Millisecond)
	allowed, _, burst, minute = send(1, 0)
	wantRow("| 0.1 s | %d | 200 | %s | %s |", allowed, burst, minute)
	app.clock.Advance(2 * time.Second)
	limits := string(caller.Get("/v1/me/limits").Want(http.StatusOK).Body)
	wantRow("| 2.1 s | none | | %d | %d |", remainingOf(t, limits, "burst"), remainingOf(t, limits, "minute"))
	app.clock.Advance(27900 * time.Millisecond)
	allowed, refused, burst, minute = send(290, 100*time.Millisecond)
	wantRow("| 30 s | 290, at 10 a second | %d × 200, %d × 429 | %s | %s |", allowed, refused, burst, minute)
}

// remainingOf returns the remaining units of a policy in a response with limits.
func remainingOf(t *testing.T, limits, policy string) int {
	t.Helper()
	found := regexp.MustCompile(`"policy":"` + policy + `".*?"remaining":(\d+)`).FindStringSubmatch(limits)
	if found == nil {
		t.Fatalf("no %s in %s", policy, limits)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDocumentation_links(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(append(pages, deeper...), "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`).FindAllStringSubmatch(string(text), -1) {
			checked++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("%s links to %s, which doesn't exist", page, link[1])
			}
		}
	}
	if checked == 0 {
		t.Error("got no links")
	}
}
