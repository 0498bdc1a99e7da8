package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// eachSchema calls do for every schema in bodies, and for those of parameters
// that are enums. Named enums are left out.
func eachSchema(doc *openapi3.T, do func(*openapi3.Schema)) {
	for _, schema := range doc.Components.Schemas {
		if valuesOf(schema.Value) == "" {
			eachInline(schema, do)
		}
	}
	eachOperation(doc, func(_, path string, op *openapi3.Operation) {
		for _, parameter := range slices.Concat(op.Parameters, doc.Paths.Value(path).Parameters) {
			if schema := parameter.Value.Schema; schema != nil && valuesOf(schema.Value) != "" {
				eachInline(schema, do)
			}
		}
		for _, response := range op.Responses.Map() {
			for _, media := range response.Value.Content {
				eachInline(media.Schema, do)
			}
		}
	})
}

// eachInline calls do for a schema and all schemas nested in it, references
// excepted.
func eachInline(ref *openapi3.SchemaRef, do func(*openapi3.Schema)) {
	if ref == nil || ref.Value == nil || ref.Ref != "" {
		return
	}
	schema := ref.Value
	do(schema)
	for _, property := range schema.Properties {
		eachInline(property, do)
	}
	for _, parts := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf} {
		for _, part := range parts {
			eachInline(part, do)
		}
	}
	eachInline(schema.Items, do)
	eachInline(schema.AdditionalProperties.Schema, do)
}

// widen sets the format of numbers without one to int64 or double: limits go up
// to 10¹² and seconds are fractional, but oapi-codegen defaults to int and
// float32. It removes the formats of strings other than times: oapi-codegen has
// types for some that reject values from the server.
func widen(schema *openapi3.Schema) {
	if schema.Type.Includes(openapi3.TypeString) && schema.Format != "date-time" {
		schema.Format = ""
	}
	if schema.Format == "" && schema.Type != nil {
		switch {
		case schema.Type.Includes(openapi3.TypeNumber):
			schema.Format = "double"
		case schema.Type.Includes(openapi3.TypeInteger) && schema.Max == nil:
			schema.Format = "int64"
		}
	}
}

// enumNames returns the names of enum schemas by their values. Inline enums with
// the same values get the named type; oapi-codegen would generate one for each
// place of use.
func enumNames(doc *openapi3.T) map[string]string {
	names := map[string]string{}
	for name, schema := range doc.Components.Schemas {
		values := valuesOf(schema.Value)
		if values == "" {
			continue
		}
		if _, ok := names[values]; ok {
			name = "" // ambiguous
		}
		names[values] = name
	}
	for values, name := range names {
		if name == "" {
			delete(names, values)
		}
	}
	return names
}

// valuesOf returns the values of an enum schema as one string, "" for others.
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

// patchNulls returns the nullable properties of merge patches by schema. If an
// operation also accepts the body as plain JSON, it removes the merge patch, so
// that one method is generated.
func patchNulls(doc *openapi3.T) map[string][]string {
	nulls := map[string][]string{}
	eachOperation(doc, func(_, _ string, op *openapi3.Operation) {
		if op.RequestBody == nil || op.RequestBody.Value.Content[mergePatch] == nil {
			return
		}
		content := op.RequestBody.Value.Content
		body := content[mergePatch].Schema
		name := body.Ref[strings.LastIndex(body.Ref, "/")+1:]
		nulls[name] = nil
		for property, schema := range body.Value.Properties {
			if schema.Value.Type.Includes("null") {
				nulls[name] = append(nulls[name], property)
			}
		}
		if content["application/json"] != nil {
			delete(content, mergePatch)
		}
	})
	return nulls
}
