// Command goclient writes the Go client from the API's description.
//
// It reads docs/openapi.json, lets oapi-codegen write the types and the requests, puts typed methods on top of them by a
// template of its own (typed.tmpl), and writes what each operation costs (the extension x-ratelimit) for the pacing.
//
//	go run ./scripts/goclient          # write client/client.gen.go and client/costs.gen.go
//	go run ./scripts/goclient -check   # fail when a committed file is out of date
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
	spec := flag.String("spec", "docs/openapi.json", "the API's description, OpenAPI 3")
	out := flag.String("out", "client", "folder of the generated files")
	check := flag.Bool("check", false, "write nothing; fail when a file in out is out of date")
	flag.Parse()
	if err := run(*spec, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

// run generates everything and then compares it with, or writes it to, the folder out.
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

// generate returns the generated files' contents by name. The same description always gives the same bytes.
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

// compare names every file in dir that is missing or differs.
func compare(files map[string][]byte, dir string) error {
	var faults []error
	for name, want := range files {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, err)
		} else if !bytes.Equal(got, want) {
			faults = append(faults, fmt.Errorf("%s is out of date: run 'make generate'", path))
		}
	}
	return errors.Join(faults...)
}
