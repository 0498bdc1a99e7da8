// Command pictures draws what each algorithm admits. It sends the same requests
// through the engine with a policy of each algorithm, and writes one SVG picture
// for each to docs/guide/pictures.
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
	if err := run("docs/guide/pictures", *check); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

// run draws all pictures, and compares them with those in a directory or writes
// them to it.
func run(dir string, check bool) error {
	var errs []error
	for _, s := range scenarios {
		tr, err := s.play()
		if err != nil {
			return fmt.Errorf("%s: %w", s.policy.Algorithm, err)
		}
		path, content := filepath.Join(dir, string(s.policy.Algorithm)+".svg"), draw(&s, tr)
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
