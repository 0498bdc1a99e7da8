// Command openapi writes the API's description from the annotations beside the handlers.
//
// It runs swag (annotations to Swagger 2.0: docs/swagger.json, docs/swagger.yaml, docs/docs.go), converts the result by
// kin-openapi to OpenAPI 3.1, and completes it with what swag can't say: the problem media type of errors, the shared
// responses and their headers, both ways to send a key, nullability, readable schema names, examples, and each
// operation's scope, group and cost from the route table in routes.go (docs/openapi.json).
// It reads annotations, types and literals only; it never runs the API.
//
// # Parameters in structs
//
// A struct that a handler binds may hold all of a request. Two lines describe it, the second where it has a body:
//
//	@Param	request	query	changeKey	true	"Path, query and headers"
//	@Param	key		body	changeKey	true	"The changes"
//
// The first stands for every field with a tag uri:"id" (path), form:"limit" (query) or header:"If-Match" (header), whichever
// of query, path and header it names; those of embedded structs come first. The second stands for the fields with a json
// tag. A field's comment, before it or behind it, is its description. These tags of a field reach the description:
// validate:"required" (or binding), default, example, enums, format, pattern, minLength, maxLength, minimum, maximum,
// minItems, maxItems and, in bodies, uniqueItems:"true"; of a list or a map, the last three are about the whole and the
// others about each item. minName and maxName are the lengths of a map's names, and exampleJSON is an example of an
// object. A named text type has its constants as enums. A type that isn't text, number, truth, time or a list of these, or a wrapper with a type
// argument, needs swaggertype:"string".
//
// # Comments
//
// The first paragraph of a type's or a field's comment is for readers of the API, further ones are for readers of the
// source. Of a type's, "Name is", "Name says" and the like are left out.
//
//	go run ./scripts/openapi          # write the four files
//	go run ./scripts/openapi -check   # fail when a committed file is out of date
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	src := source{}
	flag.StringVar(&src.root, "root", ".", "folder of main.go, which carries the API's general annotations")
	dirs := flag.String("dirs", "handlers,models", "folders under root that carry annotations and types, comma separated")
	out := flag.String("out", "docs", "folder of the generated files")
	check := flag.Bool("check", false, "write nothing; fail when a file in out is out of date")
	flag.Parse()
	src.dirs = strings.Split(*dirs, ",")

	if err := run(src, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// run generates everything and then compares it with, or writes it to, the folder out.
func run(src source, out string, check bool) error {
	files, err := generate(src)
	if err != nil {
		return err
	}
	if check {
		return compare(files, out)
	}
	return write(files, out)
}

// generate returns the generated files' contents by name. The same source always gives the same bytes.
func generate(src source) (map[string][]byte, error) {
	files, err := runSwag(src)
	if err != nil {
		return nil, err
	}
	types, err := readTypes(src)
	if err != nil {
		return nil, err
	}
	if err := correct(files, types); err != nil {
		return nil, err
	}
	table, err := readRouteTable(src, types)
	if err != nil {
		return nil, err
	}
	spec, err := buildSpec(files["swagger.json"], types, table)
	if err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	files["openapi.json"] = spec
	return files, nil
}
