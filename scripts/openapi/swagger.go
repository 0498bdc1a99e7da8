package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/swaggo/swag/gen"
)

// source says where the annotations are.
type source struct {
	root string   // folder of main.go
	dirs []string // folders under root that are read, with everything below them
}

// paths returns the folders that are read, root included.
func (s source) paths() []string {
	paths := make([]string, 0, len(s.dirs))
	for _, dir := range s.dirs {
		paths = append(paths, filepath.Join(s.root, dir))
	}
	return paths
}

// runSwag returns swag's ordinary output: swagger.json, swagger.yaml and docs.go, by name.
func runSwag(src source) (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "swag")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	mainFile, err := mainFromFirst(src)
	if err != nil {
		return nil, err
	}
	err = gen.New().Build(&gen.Config{
		Debugger:           log.New(io.Discard, "", 0),
		SearchDir:          strings.Join(src.paths(), ","),
		MainAPIFile:        mainFile,
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
	return files, nil
}

// mainFromFirst returns the way from the first folder to main.go, as swag wants it.
func mainFromFirst(src source) (string, error) {
	if len(src.dirs) == 0 {
		return "", errors.New("no folder to read")
	}
	return filepath.Rel(src.paths()[0], filepath.Join(src.root, "main.go"))
}
