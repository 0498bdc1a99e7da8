package main

import (
	_ "embed"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
)

//go:embed typed.tmpl
var typedTemplate string

func load(spec []byte) (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(spec)
}

// clientCode returns the file with types, requests and typed methods. It
// modifies doc.
func clientCode(doc *openapi3.T) ([]byte, error) {
	keepSuccesses(doc)
	nulls := patchNulls(doc)
	names := enumNames(doc)
	eachSchema(doc, func(schema *openapi3.Schema) {
		widen(schema)
		if name, ok := names[valuesOf(schema)]; ok {
			if schema.Extensions == nil {
				schema.Extensions = map[string]any{}
			}
			schema.Extensions["x-go-type"] = name
		}
	})
	options := codegen.Configuration{
		PackageName:   "client",
		Generate:      codegen.GenerateOptions{Models: true, Client: true},
		Compatibility: codegen.CompatibilityOptions{AlwaysPrefixEnumValues: true},
		OutputOptions: codegen.OutputOptions{
			ClientTypeName: "Raw",
			NameNormalizer: string(codegen.NameNormalizerFunctionToCamelCaseWithInitialisms),
			UserTemplates:  map[string]string{"client-with-responses.tmpl": typedTemplate},
		},
	}
	code, err := codegen.Generate(doc, options)
	if err != nil {
		return nil, err
	}
	return tidy([]byte(code), nulls)
}

// keepSuccesses removes all responses but 2xx, and response header fields.
// Every failure is a *Problem; oapi-codegen would generate types for the
// failures of each operation.
func keepSuccesses(doc *openapi3.T) {
	doc.Components.Responses, doc.Components.Headers = nil, nil
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		for status, response := range op.Responses.Map() {
			if !strings.HasPrefix(status, "2") {
				op.Responses.Delete(status)
				continue
			}
			response.Value.Headers = nil
		}
	})
}

// eachOperation calls do for every operation, sorted by path.
func eachOperation(doc *openapi3.T, do func(method, path string, op *openapi3.Operation)) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Value(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if op := item.GetOperation(method); op != nil {
				do(method, path, op)
			}
		}
	}
}
