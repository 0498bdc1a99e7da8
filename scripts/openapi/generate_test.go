package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var update = flag.Bool("update", false, "write the sample's description anew")

var sample = source{root: "testdata/sample", dirs: []string{"handlers", "models"}}

// sampleFiles generates the sample's files.
func sampleFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := generate(sample)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sampleSpec generates the sample's description and reads it as a client would.
func sampleSpec(t *testing.T) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(sampleFiles(t)["openapi.json"])
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSampleIsUpToDate(t *testing.T) {
	const path = "testdata/openapi.json"
	got := sampleFiles(t)["openapi.json"]
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("go test ./scripts/openapi -update writes it anew: %s", difference(want, got))
	}
}

func TestTheSameSourceGivesTheSameBytes(t *testing.T) {
	first := sampleFiles(t)
	if got, want := slices.Sorted(maps.Keys(first)), []string{"docs.go", "openapi.json", "swagger.json", "swagger.yaml"}; !slices.Equal(got, want) {
		t.Fatalf("files are %q, want %q", got, want)
	}
	for range 5 {
		for name, content := range sampleFiles(t) {
			if !bytes.Equal(content, first[name]) {
				t.Errorf("%s differs from one run to the next: %s", name, difference(first[name], content))
			}
		}
	}
}

func TestCheckFailsOnAChangeAndSaysWhere(t *testing.T) {
	out := t.TempDir()
	if err := run(sample, out, true); err == nil || !strings.Contains(err.Error(), "openapi.json is missing") {
		t.Errorf("check of an empty folder: %v", err)
	}
	if err := run(sample, out, false); err != nil {
		t.Fatal(err)
	}
	if err := run(sample, out, true); err != nil {
		t.Errorf("check just after writing: %v", err)
	}

	path := filepath.Join(out, "openapi.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(content, []byte("List products"), []byte("Show products"), 1)
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	err = run(sample, out, true)
	if err == nil {
		t.Fatal("check passed over a changed file")
	}
	for _, want := range []string{"go run ./scripts/openapi", "openapi.json: +1 −1 lines", "Show products", "List products"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "swagger.json") {
		t.Errorf("the error names a file that is up to date: %v", err)
	}
}

func TestAnUnknownTypeIsAnError(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"main.go":       "package main\n\n// @title\tX\n// @version\t1\nfunc main() {}\n",
		"handlers/h.go": "package handlers\n\n// Get gets.\n//\n//\t@Success\t200\t{object}\tmodels.Nothing\n//\t@Router\t/x [get]\nfunc Get() {}\n",
		"models/m.go":   "package models\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := generate(source{root: root, dirs: []string{"handlers", "models"}})
	if err == nil || !strings.Contains(err.Error(), "models.Nothing") {
		t.Errorf("got %v, want an error that names models.Nothing", err)
	}
}

func TestDocumentIsOrderedForPeople(t *testing.T) {
	spec := string(sampleFiles(t)["openapi.json"])
	_, product, found := strings.Cut(spec, `"Product": {`)
	if !found {
		t.Fatal("there is no Product")
	}
	for _, ordered := range [][]string{
		{`"openapi"`, `"info"`, `"servers"`, `"paths"`, `"components"`},
		{`"operationId": "listProducts"`, `"operationId": "createProduct"`}, // get before post
	} {
		checkOrder(t, spec, ordered)
	}
	checkOrder(t, product, []string{`"id": {`, `"name": {`, `"price": {`, `"old_price": {`, `"note": {`, `"updated_at": {`})
}

func checkOrder(t *testing.T, text string, ordered []string) {
	t.Helper()
	last := -1
	for _, part := range ordered {
		at := strings.Index(text, part)
		if at <= last {
			t.Errorf("%s stands at %d, want it after %d", part, at, last)
		}
		last = at
	}
}

func TestNothingUnusedIsLeft(t *testing.T) {
	var tree map[string]any
	if err := json.Unmarshal(sampleFiles(t)["openapi.json"], &tree); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	eachRef(tree, func(ref string) string { used[ref] = true; return ref })
	for kind, group := range tree["components"].(map[string]any) {
		for name := range group.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; kind != "securitySchemes" && !used[ref] {
				t.Errorf("nothing uses %s", ref)
			}
		}
	}
}
