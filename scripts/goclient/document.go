package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oapi-codegen/oapi-codegen/v2/pkg/codegen"
)

//go:embed typed.tmpl
var typedTemplate string

// options configure oapi-codegen. Its default types are too narrow, since limits
// go up to 10¹² and seconds are fractional, or reject addresses that the server
// accepts.
var options = codegen.Configuration{
	PackageName:   "client",
	Generate:      codegen.GenerateOptions{Models: true, Client: true},
	Compatibility: codegen.CompatibilityOptions{AlwaysPrefixEnumValues: true},
	OutputOptions: codegen.OutputOptions{
		ClientTypeName: "Raw",
		NameNormalizer: string(codegen.NameNormalizerFunctionToCamelCaseWithInitialisms),
		UserTemplates:  map[string]string{"client-with-responses.tmpl": typedTemplate},
		TypeMapping: &codegen.TypeMapping{
			Integer: codegen.FormatMapping{Default: codegen.SimpleTypeSpec{Type: "int64"}},
			Number:  codegen.FormatMapping{Default: codegen.SimpleTypeSpec{Type: "float64"}},
			String:  codegen.FormatMapping{Formats: map[string]codegen.SimpleTypeSpec{"email": {Type: "string"}}},
		},
	},
}

// clientCode returns the file with types, requests and typed methods. It
// modifies doc.
func clientCode(doc *openapi3.T) ([]byte, error) {
	keepSuccesses(doc)
	nameEnums(doc)
	nulls := patchNulls(doc)
	code, err := codegen.Generate(doc, options)
	if err != nil {
		return nil, err
	}
	return tidy(code, nulls)
}

// eachOperation calls do for every operation, sorted by path.
func eachOperation(doc *openapi3.T, do func(method, path string, op *openapi3.Operation)) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		operations := doc.Paths.Value(path).Operations()
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if op := operations[method]; op != nil {
				do(method, path, op)
			}
		}
	}
}

// keepSuccesses removes all responses but 2xx, and response header fields.
// Every failure is a *Problem; oapi-codegen would generate types for the
// failures of each operation.
func keepSuccesses(doc *openapi3.T) {
	doc.Components.Responses, doc.Components.Headers = nil, nil
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		for status, response := range op.Responses.Map() {
			response.Value.Headers = nil
			if !strings.HasPrefix(status, "2") {
				op.Responses.Delete(status)
			}
		}
	})
}

// nameEnums gives inline enums the type of the component with the same values;
// oapi-codegen would generate a type for each place of use.
func nameEnums(doc *openapi3.T) {
	names := map[string]string{} // by values; empty if several components have them
	for name, schema := range doc.Components.Schemas {
		values := valuesOf(schema.Value)
		if _, ambiguous := names[values]; ambiguous {
			name = ""
		}
		names[values] = name
	}
	setType := func(schema *openapi3.SchemaRef) {
		name := names[valuesOf(schema.Value)]
		if schema.Ref == "" && len(schema.Value.Enum) > 0 && name != "" {
			schema.Value.Extensions = map[string]any{"x-go-type": name}
		}
	}
	for _, schema := range doc.Components.Schemas {
		for _, property := range schema.Value.Properties {
			setType(property)
		}
	}
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		for _, parameter := range op.Parameters {
			setType(parameter.Value.Schema)
		}
	})
}

// valuesOf returns the values of an enum in a form that can be compared.
func valuesOf(schema *openapi3.Schema) string {
	var values []string
	for _, value := range schema.Enum {
		values = append(values, fmt.Sprintf("%q", value))
	}
	slices.Sort(values)
	return strings.Join(values, ",")
}

// mergePatch is the media type of bodies in which null and absent differ.
const mergePatch = "application/merge-patch+json"

// patchNulls returns the nullable properties of merge patches by schema. It
// removes the merge patch: one method, for plain JSON, is generated.
func patchNulls(doc *openapi3.T) map[string][]string {
	nulls := map[string][]string{}
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		if op.RequestBody == nil || op.RequestBody.Value.Content[mergePatch] == nil {
			return
		}
		body := op.RequestBody.Value.Content[mergePatch].Schema
		name := body.Ref[strings.LastIndex(body.Ref, "/")+1:]
		for property, schema := range body.Value.Properties {
			if schema.Value.Type.Includes(openapi3.TypeNull) {
				nulls[name] = append(nulls[name], property)
			}
		}
		delete(op.RequestBody.Value.Content, mergePatch)
	})
	return nulls
}
