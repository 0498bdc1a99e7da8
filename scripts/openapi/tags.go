package main

import (
	"encoding/json"
	"fmt"
	"go/ast"

	"github.com/getkin/kin-openapi/openapi3"
)

// exampleTag is an example as JSON, where swag's tag example can't tell it: an object's.
const exampleTag = "exampleJSON"

// applyTags adds what swag leaves out of one property: its comment, the width of numbers, and the tags that swag doesn't
// know. Of a list and of a map, pattern and what is said of lengths and values is about each item.
func (t *goTypes) applyTags(schema *openapi3.Schema, field fieldInfo) (err error) {
	if field.doc != "" {
		if schema.Description, err = readable(field.doc); err != nil {
			return err
		}
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
	if rest := schema.AdditionalProperties.Schema; rest != nil && rest.Ref == "" {
		if err := applyMembers(schema, rest.Value, field); err != nil {
			return err
		}
	}
	schema.UniqueItems = field.tag.Get("uniqueItems") == "true"
	if text := field.tag.Get(exampleTag); text != "" {
		var example any
		if err := json.Unmarshal([]byte(text), &example); err != nil {
			return fmt.Errorf("%s: %w", exampleTag, err)
		}
		schema.Examples = []any{example}
	}
	return applyItems(schema, field)
}

// applyMembers adds what the names and the values of a map may be. A pointer to a value may be null.
func applyMembers(schema, value *openapi3.Schema, field fieldInfo) error {
	schema.MaxLength = nil // swag says that of the map itself
	names := &openapi3.Schema{}
	for _, set := range []struct {
		tag  string
		into func(n int64)
	}{
		{"minName", func(n int64) { names.MinLength = uint64(n) }},
		{"maxName", func(n int64) { names.MaxLength = new(uint64(n)) }},
		{"maxLength", func(n int64) { value.MaxLength = new(uint64(n)) }},
		{"minimum", func(n int64) { value.Min = new(float64(n)) }},
	} {
		n, err := intTag(field.tag, set.tag)
		if err != nil {
			return err
		}
		if n != nil {
			set.into(*n)
		}
	}
	if names.MinLength > 0 || names.MaxLength != nil {
		schema.PropertyNames = openapi3.NewSchemaRef("", names)
	}
	if table, ok := field.typ.(*ast.MapType); ok {
		if _, pointer := table.Value.(*ast.StarExpr); pointer {
			value.Type.With(openapi3.TypeNull)
		}
	}
	return nil
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
