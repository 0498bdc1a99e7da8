package main

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/swaggo/swag/gen"
)

// runSwag returns the files that swag writes, by name.
func runSwag() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "swag")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	err = gen.New().Build(&gen.Config{
		Debugger:           log.New(io.Discard, "", 0),
		SearchDir:          "internal/server," + strings.Join(packages, ","),
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
		return nil, err
	}
	files := map[string][]byte{}
	for _, name := range []string{"swagger.json", "swagger.yaml", "docs.go"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
}
