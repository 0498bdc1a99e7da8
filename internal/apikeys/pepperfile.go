package apikeys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pepperFile stands in DATA_DIR, readable by its owner only.
const pepperFile = "key-pepper"

// PeppersIn reads the peppers that stand in dataDir. Where there are none,
// makeMissing makes one; else the error is fs.ErrNotExist.
func PeppersIn(dataDir string, makeMissing bool) (*Peppers, error) {
	path := filepath.Join(dataDir, pepperFile)
	list, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && makeMissing {
		return makePepper(dataDir, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key pepper: %w", err)
	}
	peppers, err := ParsePeppers(strings.TrimSpace(string(list)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return peppers, nil
}

// makePepper writes a new pepper under a name of its own and links it into
// place, so that a crash leaves no half a pepper and of several processes the
// first one wins.
func makePepper(dataDir, path string) (*Peppers, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make DATA_DIR: %w", err)
	}
	temporary, err := os.CreateTemp(dataDir, pepperFile+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write the key pepper: %w", err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.WriteString("v1:" + rand.Text() + rand.Text() + "\n")
	if err := errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return nil, fmt.Errorf("write the key pepper: %w", err)
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write the key pepper: %w", err)
	}
	return PeppersIn(dataDir, false)
}
