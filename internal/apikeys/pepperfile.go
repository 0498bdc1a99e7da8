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

// pepperFile is a file in DATA_DIR with mode 0600.
const pepperFile = "key-pepper"

// LoadPeppers reads the peppers stored in dataDir. If there are none, it creates
// one when create is set, and fails with fs.ErrNotExist otherwise.
func LoadPeppers(dataDir string, create bool) (*Peppers, error) {
	path := filepath.Join(dataDir, pepperFile)
	list, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		return createPepper(dataDir, path)
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

// createPepper writes a new pepper to a temporary file and links it into place,
// so that a crash leaves no partial file and the first of several processes
// wins.
func createPepper(dataDir, path string) (*Peppers, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create DATA_DIR: %w", err)
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
	return LoadPeppers(dataDir, false)
}
