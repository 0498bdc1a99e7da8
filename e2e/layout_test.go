package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "ratelimiter"

// mayImport lists the packages of this module that each package may import outside
// of tests.
var mayImport = map[string][]string{
	"":                             {"internal/cli"},
	"handlers":                     {"models", "ratelimit", "internal/binding", "internal/cursor"},
	"middleware":                   {"models", "ratelimit"},
	"models":                       {"ratelimit"},
	"ratelimit":                    {},
	"ratelimit/memory":             {"ratelimit"},
	"ratelimit/redis":              {"ratelimit"},
	"ratelimit/fallback":           {"ratelimit", "ratelimit/memory"},
	"ratelimit/storetest":          {"ratelimit"},
	"client":                       {},
	"internal/cli":                 {"internal/app", "internal/config", "internal/apikeys", "internal/binding", "internal/changefeed", "internal/devdb", "internal/postgres", "internal/queue", "internal/queue/operator", "internal/quota", "internal/redisfacts", "internal/usage", "internal/workers", "handlers", "models", "ratelimit", "ratelimit/redis", "docs", "migrations"},
	"internal/config":              {"internal/apikeys", "internal/queue/kafka", "middleware"},
	"internal/server":              {"handlers", "middleware", "models", "ratelimit", "docs"},
	"internal/apikeys":             {"models", "internal/audit", "internal/postgres"},
	"internal/quota":               {"models", "ratelimit", "internal/cache", "internal/audit", "internal/postgres"},
	"internal/limits":              {"models", "ratelimit", "internal/quota", "internal/postgres"},
	"internal/allowance":           {"models", "ratelimit", "internal/postgres"},
	"internal/changefeed":          {"models", "internal/postgres"},
	"internal/audit":               {"models", "internal/postgres"},
	"internal/telemetry":           {"ratelimit"},
	"internal/usage":               {"models", "ratelimit", "internal/cache", "internal/postgres"},
	"internal/catalog":             {"models", "internal/cache", "internal/audit", "internal/postgres"},
	"internal/queue":               {"models", "internal/postgres"},
	"internal/queue/kafka":         {"internal/queue"},
	"internal/queue/queuetest":     {"internal/postgres", "internal/queue", "internal/testkit"},
	"internal/queue/rabbitmq":      {"internal/queue"},
	"internal/queue/sqs":           {"internal/queue"},
	"internal/queue/operator":      {"models", "internal/audit", "internal/postgres", "internal/queue"},
	"internal/cursor":              {},
	"internal/events":              {"models", "internal/cursor", "internal/postgres"},
	"internal/orders":              {"models", "internal/audit", "internal/events", "internal/postgres", "internal/queue"},
	"internal/workers":             {"models", "internal/catalog", "internal/events", "internal/orders", "internal/queue"},
	"internal/streams":             {"models"},
	"internal/devgateway":          {"models", "internal/binding", "internal/postgres"},
	"internal/instances":           {},
	"internal/invoice":             {"models"},
	"internal/binding":             {"models"},
	"internal/cache":               {},
	"internal/retention":           {"models"},
	"internal/workpool":            {"models"},
	"internal/postgres":            {"models"},
	"internal/redisfacts":          {},
	"internal/devdb":               {"internal/postgres"},
	"internal/testkit/cluster":     {"internal/devdb", "internal/testkit"},
	"internal/testkit/contract":    {},
	"internal/testkit/gatewaytest": {"handlers", "internal/devgateway", "internal/server", "internal/testkit"},
	"migrations":                   {},
	"e2e/liveproof":                {},
	"e2e/orderproof":               {},
	"docs":                         {},
	"scripts/goclient":             {},
	"scripts/plainenglish":         {},
	"scripts/openapi":              {"handlers", "internal/binding", "internal/server", "middleware", "models", "ratelimit"},
	"scripts/pictures":             {"internal/queue", "ratelimit", "ratelimit/memory"},
	"scripts/vulndb":               {},
}

// unrestricted packages may import any package of this module.
var unrestricted = []string{"internal/app", "internal/testkit", "e2e"}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// packages returns the packages of the module with their imports outside of tests.
func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
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

// folder returns the folder of a package of this module.
func folder(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func TestLayout_imports(t *testing.T) {
	list := packages(t)
	for _, p := range list {
		from, _ := folder(p.ImportPath)
		if strings.Contains(from, "testdata") {
			continue
		}
		forTests := strings.HasPrefix(from, "internal/testkit") || from == "internal/queue/queuetest"
		if !forTests && slices.Contains(p.Imports, module+"/internal/testkit") {
			t.Errorf("%s imports testkit outside of tests", from)
		}
		if slices.Contains(unrestricted, from) {
			continue
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("package %q is missing in mayImport", from)
			continue
		}
		for _, path := range p.Imports {
			if to, internal := folder(path); internal && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s; want only %v", from, to, allowed)
			}
		}
	}
	if len(list) < len(mayImport) {
		t.Errorf("go list: got %d packages; mayImport has %d", len(list), len(mayImport))
	}
}

func TestLayout_pgx(t *testing.T) {
	for _, p := range packages(t) {
		from, _ := folder(p.ImportPath)
		if strings.HasPrefix(from, "internal/") || from == "migrations" {
			continue
		}
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "github.com/jackc/") {
				t.Errorf("%s imports %s; want pgx only in internal and migrations", from, path)
			}
		}
	}
}

func TestLayout_top_level(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "main.go" {
		t.Fatalf("got Go files %v at the top level, error %v; want main.go", files, err)
	}
	source, err := os.ReadFile(files[0])
	if lines := strings.Count(string(source), "\n"); err != nil || lines > 40 {
		t.Errorf("got %d lines in main.go, error %v; want at most 40", lines, err)
	}
}
