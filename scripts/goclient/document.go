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
	for _, schema := range doc.Components.Schemas {
		widen(schema)
	}
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		for _, response := range op.Responses.Map() {
			for _, media := range response.Value.Content {
				widen(media.Schema)
			}
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
	return tidy([]byte(code))
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

// widen gives numbers that have no format one that holds them all: limits go
// up to 10¹², and seconds are fractional; oapi-codegen would take int and
// float32. Texts but times become plain strings: oapi-codegen has types for some
// formats that judge what the server has sent.
func widen(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil || ref.Ref != "" {
		return
	}
	schema := ref.Value
	if schema.Type.Includes(openapi3.TypeString) && schema.Format != "date-time" {
		schema.Format = "" // what an email address is, is for the server to say
	}
	if schema.Format == "" && schema.Type != nil {
		switch {
		case schema.Type.Includes(openapi3.TypeNumber):
			schema.Format = "double"
		case schema.Type.Includes(openapi3.TypeInteger) && schema.Max == nil:
			schema.Format = "int64"
		}
	}
	for _, property := range schema.Properties {
		widen(property)
	}
	for _, parts := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf} {
		for _, part := range parts {
			widen(part)
		}
	}
	widen(schema.Items)
	widen(schema.AdditionalProperties.Schema)
}
