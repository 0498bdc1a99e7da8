package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// write puts the files into the folder out.
func write(files map[string][]byte, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(out, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare fails when a file in the folder out is not what was generated, and says where each begins to differ.
func compare(files map[string][]byte, out string) error {
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(out, name)
		committed, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			differences = append(differences, path+" is missing")
		case err != nil:
			return err
		case !bytes.Equal(committed, files[name]):
			differences = append(differences, path+": "+difference(committed, files[name]))
		}
	}
	if len(differences) == 0 {
		return nil
	}
	return fmt.Errorf("out of date, run go run ./scripts/openapi:\n  %s", strings.Join(differences, "\n  "))
}

// difference says how many lines are only in one of the two, and shows the first place.
func difference(committed, generated []byte) string {
	old, new := strings.Split(string(committed), "\n"), strings.Split(string(generated), "\n")
	first := 0
	for first < len(old) && first < len(new) && old[first] == new[first] {
		first++
	}
	count := map[string]int{}
	for _, line := range old {
		count[line]--
	}
	for _, line := range new {
		count[line]++
	}
	added, removed := 0, 0
	for _, n := range count {
		added += max(n, 0)
		removed += max(-n, 0)
	}
	return fmt.Sprintf("+%d −%d lines; line %d is %s, should be %s", added, removed, first+1, lineAt(old, first), lineAt(new, first))
}

func lineAt(lines []string, i int) string {
	if i >= len(lines) {
		return "missing"
	}
	return fmt.Sprintf("%q", strings.TrimSpace(lines[i]))
}
