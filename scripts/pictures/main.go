// Command pictures draws the pictures of the documentation. It sends the same
// requests through the engine with a policy of each algorithm, and draws what
// each admits; it retries the same messages with and without jitter, and draws
// when.
//
//	go run ./scripts/pictures          # write the pictures
//	go run ./scripts/pictures -check   # fail if one is out of date
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
	check := flag.Bool("check", false, "write nothing; fail if a picture is out of date")
	flag.Parse()
	if err := run("docs", *check); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// pictures returns the content of all pictures, by path.
func pictures() (map[string][]byte, error) {
	all := map[string][]byte{"concepts/pictures/retries.svg": drawRetries(retries(false), retries(true))}
	for _, s := range scenarios {
		tr, err := s.play()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.policy.Algorithm, err)
		}
		all["guide/pictures/"+string(s.policy.Algorithm)+".svg"] = draw(&s, tr)
	}
	return all, nil
}

// run draws all pictures, and compares them with those in a directory or writes
// them to it.
func run(dir string, check bool) error {
	all, err := pictures()
	errs := []error{err}
	for name, content := range all {
		path := filepath.Join(dir, name)
		if !check {
			errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
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
