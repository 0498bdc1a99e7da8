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
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
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
	files, err := generate()
	if err != nil {
		return err
	}
	var faults []error
	for name, content := range files {
		path := filepath.Join("docs", name)
		if !check {
			faults = append(faults, os.WriteFile(path, content, 0o644))
			continue
		}
		committed, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(committed, content) {
			err = fmt.Errorf("%s is out of date: run 'make generate'", path)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// generate returns the content of the generated files by name.
func generate() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "swag")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	err = gen.New().Build(&gen.Config{
		Debugger:           log.New(io.Discard, "", 0),
		SearchDir:          "internal/server,handlers,middleware,models,ratelimit",
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
		return nil, fmt.Errorf("swag: %w", err)
	}
	files := map[string][]byte{}
	for _, name := range []string{"swagger.json", "swagger.yaml", "docs.go"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	doc, err := describe(files["swagger.json"])
	if err != nil {
		return nil, err
	}
	files["openapi.json"], err = encode(doc)
	return files, err
}

// encode returns the description as JSON, and checks it as its readers get it,
// examples included.
func encode(doc *openapi3.T) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	if err := (*jsontext.Value)(&text).Format(jsontext.WithIndent("  "), jsontext.EscapeForHTML(false)); err != nil {
		return nil, err
	}
	read, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), read.Validate(context.Background(), openapi3.EnableExamplesValidation())
}
