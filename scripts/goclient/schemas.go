package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// eachSchema calls do with every schema of a body, and with those of parameters
// that have fixed values; not with those that are such values' type by name.
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

// eachInline calls do with a schema and all that stand in it, apart from those
// that it refers to.
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

// widen gives numbers that have no format one that holds them all: limits go
// up to 10¹², and seconds are fractional; oapi-codegen would take int and
// float32. Texts but times become plain strings: oapi-codegen has types for some
// formats that judge what the server has sent.
func widen(schema *openapi3.Schema) {
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
}

// enumNames are the types of fixed values that have a name, by their values: the
// same values without a name are the same type, and oapi-codegen would make one
// for each place where they stand.
func enumNames(doc *openapi3.T) map[string]string {
	names := map[string]string{}
	for name, schema := range doc.Components.Schemas {
		values := valuesOf(schema.Value)
		if values == "" {
			continue
		}
		if _, twice := names[values]; twice {
			name = "" // nobody can say which
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

// valuesOf are a schema's fixed values, "" if it has none.
func valuesOf(schema *openapi3.Schema) string {
	var values []string
	for _, value := range schema.Enum {
		values = append(values, fmt.Sprintf("%q", value))
	}
	slices.Sort(values)
	return strings.Join(values, ",")
}

// mergePatch is the type of bodies in which null says something that leaving out doesn't.
const mergePatch = "application/merge-patch+json"

// patchNulls are the properties, by schema, that null takes away in a merge
// patch. Where the same body may be sent as plain JSON, that is left, so that
// there is one method.
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
