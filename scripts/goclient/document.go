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

// clientCode is the types, the requests and the typed methods. It changes doc.
func clientCode(doc *openapi3.T) ([]byte, error) {
	keepSuccesses(doc)
	nulls := patchNulls(doc)
	names := enumNames(doc)
	eachSchema(doc, func(schema *openapi3.Schema) {
		widen(schema)
		if name, there := names[valuesOf(schema)]; there {
			if schema.Extensions == nil {
				schema.Extensions = map[string]any{}
			}
			schema.Extensions["x-go-type"] = name
		}
	})
	options := codegen.Configuration{
		PackageName: "client",
		Generate:    codegen.GenerateOptions{Models: true, Client: true},
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

// keepSuccesses leaves out all answers but 2xx, and their header fields: every
// failure is a *Problem, which is the same for all operations, and oapi-codegen
// would write types for each of them anew.
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

// eachOperation calls do with the operations in the order of their paths.
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
