package docs_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// readAll returns the texts of the files below the repository's root whose names
// end in a suffix, by path.
func readAll(t *testing.T, suffix string) map[string]string {
	t.Helper()
	root, texts := os.DirFS(".."), map[string]string{}
	if err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && len(name) > 1 && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, suffix):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		texts[name] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return texts
}

// Every test and benchmark that a page names as the proof of a claim exists.
func TestPages_name_existing_tests(t *testing.T) {
	exists := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark)\w+)\(`)
	for _, text := range readAll(t, "_test.go") {
		for _, match := range declaration.FindAllStringSubmatch(text, -1) {
			exists[match[1]] = true
		}
	}
	named := 0
	mention := regexp.MustCompile("`((?:Test|Benchmark)[A-Z]\\w+)[/`]")
	for name, text := range readAll(t, ".md") {
		for _, match := range mention.FindAllStringSubmatch(text, -1) {
			named++
			if !exists[match[1]] {
				t.Errorf("%s: there is no test %s", name, match[1])
			}
		}
	}
	if named < 30 {
		t.Errorf("got %d names of tests; want all", named)
	}
}
