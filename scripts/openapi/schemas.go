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
			ref.Value.Description = namedAs(cmp.Or(info.doc, types.docs[goName]), goName, name)
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

// namedAs is a type's comment, which begins with its Go name, with the schema's name in its place.
func namedAs(doc, goName, name string) string {
	_, typ, _ := strings.Cut(goName, ".")
	if rest, ok := strings.CutPrefix(doc, typ+" "); ok {
		return name + " " + rest
	}
	return doc
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

// applyTags adds what swag leaves out of one property: its comment in one line, the width of numbers, and the tags
// pattern, minItems and maxItems. Of a list, pattern is about each item.
func (t *goTypes) applyTags(schema *openapi3.Schema, field fieldInfo) error {
	if field.doc != "" {
		schema.Description = field.doc
	}
	k, known := t.kindOf(field)
	value, kindOfValue := schema, &k
	if schema.Items != nil && schema.Items.Ref == "" && k.items != nil {
		value, kindOfValue = schema.Items.Value, k.items
	}
	if known && value.Format == "" && !value.Type.IsEmpty() {
		value.Format = kindOfValue.format
	}
	if pattern := field.tag.Get("pattern"); pattern != "" {
		value.Pattern = pattern
	}
	return applyItems(schema, field)
}

// applyItems adds how many items a list, or members a map, may have.
func applyItems(schema *openapi3.Schema, field fieldInfo) error {
	least, err := intTag(field.tag, "minItems")
	if err != nil {
		return err
	}
	most, err := intTag(field.tag, "maxItems")
	if err != nil {
		return err
	}
	from, to := &schema.MinItems, &schema.MaxItems
	if schema.Type.Includes(openapi3.TypeObject) {
		schema.MaxItems = nil // swag says that of a map too
		from, to = &schema.MinProps, &schema.MaxProps
	}
	if least != nil {
		*from = uint64(*least)
	}
	if most != nil {
		*to = new(uint64(*most))
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
