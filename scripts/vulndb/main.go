// Command vulndb writes the Go vulnerability database in the layout that
// govulncheck reads (https://go.dev/security/vuln/database) from the OSV files of
// the module golang.org/x/vulndb, so that the check needs only a module proxy:
//
//	vulndb FOLDER-OF-OSV-FILES OUTPUT-FOLDER
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is what the indexes need of an OSV file.
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Aliases  []string  `json:"aliases,omitempty"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected,omitempty"`
}

// module is one module of the index by module.
type module struct {
	Path  string          `json:"path"`
	Vulns []vulnerability `json:"vulns"`
}

type vulnerability struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Fixed    string    `json:"fixed,omitempty"` // the last version that fixes it
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vulndb FOLDER-OF-OSV-FILES OUTPUT-FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

// write copies the OSV files and writes the indexes.
func write(from, to string) error {
	files, _ := filepath.Glob(filepath.Join(from, "*.json")) // the pattern is valid
	if len(files) == 0 {
		return fmt.Errorf("no OSV files in %s", from)
	}
	for _, folder := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(to, folder), 0o755); err != nil { //nolint:gosec // the build names the folders
			return err
		}
	}
	modules, all := map[string]*module{}, []entry{}
	var newest time.Time
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // as above
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, "ID", e.ID+".json"), text, 0o644); err != nil { //nolint:gosec // as above
			return err
		}
		if e.Modified.After(newest) {
			newest = e.Modified
		}
		addTo(modules, e)
		e.Affected = nil
		all = append(all, e)
	}
	return writeIndexes(filepath.Join(to, "index"), newest, modules, all)
}

// addTo adds a vulnerability to each of its modules, once.
func addTo(modules map[string]*module, e entry) {
	for _, affected := range e.Affected {
		path, v := affected.Package.Name, vulnerability{ID: e.ID, Modified: e.Modified}
		for _, r := range affected.Ranges {
			for _, event := range r.Events {
				if event.Fixed != "" {
					v.Fixed = event.Fixed
				}
			}
		}
		if modules[path] == nil {
			modules[path] = &module{Path: path}
		}
		m := modules[path]
		if n := len(m.Vulns); n > 0 && m.Vulns[n-1].ID == e.ID {
			m.Vulns[n-1] = v
		} else {
			m.Vulns = append(m.Vulns, v)
		}
	}
}

func writeIndexes(folder string, newest time.Time, modules map[string]*module, all []entry) error {
	byPath := slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return strings.Compare(a.Path, b.Path) })
	for name, index := range map[string]any{"modules": byPath, "vulns": all, "db": map[string]time.Time{"modified": newest}} {
		text, err := json.Marshal(index)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name+".json"), text, 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}
