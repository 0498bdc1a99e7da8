// Command goclient generates the Go client from the API's OpenAPI description.
//
// It generates types and requests with oapi-codegen, typed methods with a
// template (typed.tmpl), and the table of costs from the extension x-ratelimit,
// which the client needs for pacing.
//
//	go run ./scripts/goclient          # write client/client.gen.go and client/costs.gen.go
//	go run ./scripts/goclient -check   # fail if a generated file is out of date
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a generated file is out of date")
	flag.Parse()
	if err := run("docs/openapi.json", "client", *check); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

// run generates all files, and compares them with those in the directory out or
// writes them to it.
func run(spec, out string, check bool) error {
	data, err := os.ReadFile(spec)
	if err != nil {
		return err
	}
	files, err := generate(data)
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	var errs []error
	for name, content := range files {
		path := filepath.Join(out, name)
		if !check {
			errs = append(errs, os.WriteFile(path, content, 0o644))
			continue
		}
		committed, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(committed, content) {
			err = fmt.Errorf("%s is out of date: run 'make generate'", path)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// generate returns the contents of the generated files by name. It is
// deterministic.
func generate(spec []byte) (map[string][]byte, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, err
	}
	costs, err := costTable(doc)
	if err != nil {
		return nil, err
	}
	code, err := clientCode(doc)
	return map[string][]byte{"client.gen.go": code, "costs.gen.go": costs}, err
}
