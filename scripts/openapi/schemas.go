package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// describeSchemas adds to each schema what its Go struct says and swag doesn't: comments, formats, the tags that swag
// doesn't know and, where the shape is only ever sent by the server, that a field without omitempty is always there, as
// null when it is a nil pointer. In request bodies a pointer says "may be absent", so there only tags (binding, validate,
// extensions:"x-nullable") count.
func describeSchemas(doc *openapi3.T, types *goTypes, oldNames map[string]string) error {
	requested := requestSchemas(doc)
	for name, ref := range doc.Components.Schemas {
		goName, _, _ := strings.Cut(oldNames[name], "-")
		info, known := types.structs[goName]
		if ref.Value == nil {
			continue
		}
		if ref.Value.Description == "" {
			_, typ, _ := strings.Cut(goName, ".")
			description, err := typeDescription(cmp.Or(info.doc, types.docs[goName]), typ)
			if err != nil {
				return fmt.Errorf("%s: %w", goName, err)
			}
			ref.Value.Description = description
		}
		if !known {
			continue
		}
		for _, field := range types.fieldsOf(goName) {
			if err := types.describeField(ref.Value, field, !requested[name]); err != nil {
				return fmt.Errorf("%s.%s: %w", name, field.name, err)
			}
		}
		slices.Sort(ref.Value.Required)
		closeObject(ref.Value)
	}
	return nil
}

// closeObject refuses properties that aren't described: the server refuses those of requests, and sends no others.
func closeObject(schema *openapi3.Schema) {
	rest := &schema.AdditionalProperties
	if len(schema.Properties) > 0 && rest.Has == nil && rest.Schema == nil {
		rest.Has = new(false)
	}
}

func (t *goTypes) describeField(schema *openapi3.Schema, field fieldInfo, sentByServer bool) error {
	property := schema.Properties[field.name]
	if property == nil {
		return nil
	}
	if property.Ref != "" && field.tag.Get(exampleTag) != "" { // a reference alone has no place for it
		property = openapi3.NewSchemaRef("", &openapi3.Schema{AllOf: openapi3.SchemaRefs{property}})
		schema.Properties[field.name] = property
	}
	if property.Ref == "" && property.Value != nil {
		if err := t.applyTags(property.Value, field); err != nil {
			return err
		}
	}
	if !sentByServer || !field.always {
		return nil
	}
	if field.pointer {
		schema.Properties[field.name] = orNull(property)
	}
	if !slices.Contains(schema.Required, field.name) {
		schema.Required = append(schema.Required, field.name)
	}
	return nil
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
