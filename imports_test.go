package main

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "ratelimiter"

// mayImport is the import column of the design's layout: what each package of
// ours may import of ours. internal/postgres may be imported by every service
// under internal/, and internal/testkit by every test.
var mayImport = map[string][]string{
	"handlers":                  {"models", "ratelimit", "internal/binding"},
	"middleware":                {"models", "ratelimit"},
	"models":                    {},
	"ratelimit":                 {},
	"ratelimit/memory":          {"ratelimit"},
	"ratelimit/storetest":       {"ratelimit"},
	"internal/apikeys":          {"models", "internal/audit"},
	"internal/quota":            {"models", "ratelimit", "internal/cache", "internal/audit"},
	"internal/audit":            {"models"},
	"internal/binding":          {"models", "ratelimit"},
	"internal/cache":            {},
	"internal/usage":            {"models", "ratelimit", "internal/cache"},
	"internal/shop":             {"models", "internal/shop/invoice", "internal/queue", "internal/live", "internal/cache", "internal/audit"},
	"internal/shop/invoice":     {"models"},
	"internal/postgres":         {},
	"internal/devdb":            {"internal/postgres"},
	"migrations":                {},
	"docs":                      {},
	"client":                    {},
	"scripts/openapi":           {},
	"scripts/goclient":          {},
	"internal/testkit/cluster":  {"internal/testkit"},
	"internal/testkit/load":     {},
	"internal/testkit/contract": {},
}

// postgresUsers may import internal/postgres.
var postgresUsers = []string{"internal/apikeys", "internal/audit", "internal/quota", "internal/shop", "internal/usage"}

// unbound packages may import everything of ours.
var unbound = []string{"", "internal/testkit"}

// pgx is imported only under internal/, by migrations and by main.
var pgxUsers = []string{"", "migrations"}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// packages lists the module's packages with what they import, tests apart.
func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// folder returns the folder of a package of ours.
func folder(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func TestPackagesImportOnlyWhatTheLayoutAllows(t *testing.T) {
	list := packages(t)
	for _, p := range list {
		from, _ := folder(p.ImportPath)
		if strings.Contains(from, "testdata") {
			continue
		}
		if !strings.HasPrefix(from, "internal/testkit") && slices.Contains(p.Imports, module+"/internal/testkit") {
			t.Errorf("%s imports the test kit, which is for tests only", from)
		}
		if slices.Contains(unbound, from) {
			continue
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("package %q is not in the import table", from)
			continue
		}
		if slices.Contains(postgresUsers, from) {
			allowed = append(slices.Clone(allowed), "internal/postgres")
		}
		for _, path := range p.Imports {
			if to, ours := folder(path); ours && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s; it may import %v", from, to, allowed)
			}
		}
	}
	if len(list) < len(mayImport) {
		t.Errorf("go list found %d packages; the import table has %d", len(list), len(mayImport))
	}
}

func TestOnlyServicesImportPgx(t *testing.T) {
	for _, p := range packages(t) {
		from, _ := folder(p.ImportPath)
		if strings.HasPrefix(from, "internal/") || slices.Contains(pgxUsers, from) {
			continue
		}
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "github.com/jackc/") {
				t.Errorf("%s imports %s", from, path)
			}
		}
	}
}

func TestModelsImportTheStandardLibraryOnly(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"/models" {
			continue
		}
		for _, path := range p.Imports {
			if strings.Contains(strings.Split(path, "/")[0], ".") {
				t.Errorf("models imports %s", path)
			}
		}
	}
}

func TestTheRouteTableKnowsNoServices(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "routes.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		to, ours := folder(path)
		if ours && !slices.Contains([]string{"handlers", "middleware", "models", "docs", "internal/console"}, to) {
			t.Errorf("routes.go imports %s", to)
		}
	}
}
