// Command openapi writes the API description.
//
// Swag turns the annotations in package handlers into Swagger 2.0
// (docs/swagger.json, docs/swagger.yaml, docs/docs.go). The OpenAPI 3.1
// description (docs/openapi.json) combines three sources:
//
//   - the annotations: texts, statuses and response headers;
//   - the Go types in handlers.Operations: parameters, bodies and examples, from
//     their json, uri, form and header tags and the tags that internal/binding
//     enforces; doc comments are the descriptions;
//   - the route table in internal/server: scope, cost, and whether a key is
//     needed.
//
// It runs in the root of the repository:
//
//	go run ./scripts/openapi          # write the files
//	go run ./scripts/openapi -check   # fail if a committed file is out of date
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/swaggo/swag/gen"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a committed file is out of date")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// run generates the files and writes them, or compares them with the committed
// ones.
func run(check bool) error {
	dir, err := os.MkdirTemp("", "openapi")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := generate(dir); err != nil {
		return err
	}
	var faults []error
	for _, name := range []string{"docs.go", "openapi.json", "swagger.json", "swagger.yaml"} {
		path := filepath.Join("docs", name)
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !check {
			err = os.WriteFile(path, content, 0o644)
		}
		if committed, _ := os.ReadFile(path); err == nil && !bytes.Equal(committed, content) {
			err = fmt.Errorf("%s is out of date: run 'make generate'", path)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// generate writes the files to a folder.
func generate(dir string) error {
	err := gen.New().Build(&gen.Config{
		Debugger:           log.New(io.Discard, "", 0),
		SearchDir:          "internal/server," + strings.Join(packages, ","),
		MainAPIFile:        "doc.go", // of the first folder
		OverridesFile:      "scripts/openapi/overrides.swaggo",
		OutputDir:          dir,
		OutputTypes:        []string{"go", "json", "yaml"},
		PackageName:        "docs",
		PropNamingStrategy: "snakecase",
		ParseDepth:         100,
		Strict:             true,
	})
	if err != nil {
		return fmt.Errorf("swag: %w", err)
	}
	swagger, err := os.ReadFile(filepath.Join(dir, "swagger.json"))
	if err != nil {
		return err
	}
	doc, err := describe(swagger)
	if err != nil {
		return err
	}
	text, err := encode(doc)
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "openapi.json"), text, 0o600))
}
