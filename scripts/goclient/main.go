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
)

func main() {
	spec := flag.String("spec", "docs/openapi.json", "OpenAPI 3 description of the API")
	out := flag.String("out", "client", "directory of the generated files")
	check := flag.Bool("check", false, "write nothing; fail if a generated file is out of date")
	flag.Parse()
	if err := run(*spec, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

// run generates all files, and compares them with the directory out or writes
// them to it.
func run(spec, out string, check bool) error {
	data, err := os.ReadFile(spec)
	if err != nil {
		return err
	}
	files, err := generate(data)
	if err != nil {
		return fmt.Errorf("%s: %w", spec, err)
	}
	if check {
		return compare(files, out)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the contents of the generated files by name. It is
// deterministic.
func generate(spec []byte) (map[string][]byte, error) {
	doc, err := load(spec)
	if err != nil {
		return nil, err
	}
	costs, err := costTable(doc)
	if err != nil {
		return nil, err
	}
	code, err := clientCode(doc)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"client.gen.go": code, "costs.gen.go": costs}, nil
}

// compare returns an error that names every file that is missing in dir or
// differs.
func compare(files map[string][]byte, dir string) error {
	var errs []error
	for name, want := range files {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
		} else if !bytes.Equal(got, want) {
			errs = append(errs, fmt.Errorf("%s is out of date: run 'make generate'", path))
		}
	}
	return errors.Join(errs...)
}
