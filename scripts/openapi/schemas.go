package main

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// describeSchemas adds to each schema what its Go struct says and swag doesn't: the type's comment, times and, where the
// shape is only ever sent by the server, that a field without omitempty is always there, as null when it is a nil pointer.
// In request bodies a pointer says "may be absent", so there only tags (binding, validate, extensions:"x-nullable") count.
func describeSchemas(doc *openapi3.T, structs map[string]structInfo, oldNames map[string]string) {
	requested := requestSchemas(doc)
	for name, ref := range doc.Components.Schemas {
		goName, _, _ := strings.Cut(oldNames[name], "-")
		info, known := structs[goName]
		if !known || ref.Value == nil {
			continue
		}
		if ref.Value.Description == "" {
			ref.Value.Description = info.doc
		}
		for _, field := range fieldsOf(structs, goName) {
			describeField(ref.Value, field, !requested[name])
		}
		slices.Sort(ref.Value.Required)
	}
}

func describeField(schema *openapi3.Schema, field fieldInfo, sentByServer bool) {
	property := schema.Properties[field.name]
	if property == nil {
		return
	}
	if field.time && property.Value != nil {
		property.Value.Format = "date-time"
	}
	if !sentByServer || !field.always {
		return
	}
	if field.pointer {
		schema.Properties[field.name] = orNull(property)
	}
	if !slices.Contains(schema.Required, field.name) {
		schema.Required = append(schema.Required, field.name)
	}
}

// orNull returns the schema with null allowed beside what it allows.
func orNull(ref *openapi3.SchemaRef) *openapi3.SchemaRef {
	if ref.Ref == "" && !ref.Value.Type.IsEmpty() {
		ref.Value.Type.With(openapi3.TypeNull)
		return ref
	}
	null := openapi3.NewSchemaRef("", &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeNull}})
	wrapped := &openapi3.Schema{AnyOf: openapi3.SchemaRefs{ref, null}}
	if ref.Ref == "" { // swag wraps a reference that has a description in allOf
		wrapped.Description, ref.Value.Description = ref.Value.Description, ""
	}
	return openapi3.NewSchemaRef("", wrapped)
}

// requestSchemas names the component schemas that a request body uses, directly or not.
func requestSchemas(doc *openapi3.T) map[string]bool {
	used := map[string]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody == nil || op.RequestBody.Value == nil {
				continue
			}
			for _, media := range op.RequestBody.Value.Content {
				addUsed(used, media.Schema)
			}
		}
	}
	return used
}

func addUsed(used map[string]bool, ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil {
		return
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		if used[name] {
			return
		}
		used[name] = true
	}
	for _, property := range ref.Value.Properties {
		addUsed(used, property)
	}
	for _, part := range slices.Concat(ref.Value.AllOf, ref.Value.AnyOf, ref.Value.OneOf) {
		addUsed(used, part)
	}
	addUsed(used, ref.Value.Items)
	addUsed(used, ref.Value.AdditionalProperties.Schema)
}
