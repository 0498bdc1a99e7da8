package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurity_page checks that every test that docs/security.md names exists.
func TestSecurity_page(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("`(\\./[a-z0-9/]+) -(?:run xxx -bench|run) '?([^'`]+)'?`").FindAllStringSubmatch(string(page), -1)
	if len(commands) < 40 {
		t.Fatalf("found only %d commands", len(commands))
	}
	for _, command := range commands {
		files, err := filepath.Glob(filepath.Join("..", command[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var source strings.Builder
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
		for part := range strings.SplitSeq(strings.NewReplacer(`\|`, "|", "(", "|", ")", "|").Replace(command[2]), "|") {
			if !regexp.MustCompile(`(?m)^func (Test|Benchmark)\w*` + part).MatchString(source.String()) {
				t.Errorf("%s: no test matches %q of %q", command[1], part, command[2])
			}
		}
	}
}
