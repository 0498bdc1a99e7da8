package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// applyTags adds the rules in a field's tags to its schema; they are those that
// internal/binding enforces. Rules for values apply to the items of a list and
// to the values of a map.
func applyTags(schema *openapi3.Schema, tag reflect.StructTag) error {
	t := tags{StructTag: tag}
	value := schema
	t.number("minItems", func(n float64) { schema.MinItems = uint64(n) })
	t.number("maxItems", func(n float64) { schema.MaxItems = new(uint64(n)) })
	switch {
	case schema.AdditionalProperties.Schema != nil:
		value = schema.AdditionalProperties.Schema.Value
		schema.MinProps, schema.MaxProps, schema.MinItems, schema.MaxItems = schema.MinItems, schema.MaxItems, 0, nil
		t.names(schema)
	case schema.Items != nil && schema.Items.Ref == "":
		value = schema.Items.Value
	}
	t.number("minLength", func(n float64) { value.MinLength = uint64(n) })
	t.number("maxLength", func(n float64) { value.MaxLength = new(uint64(n)) })
	t.number("minimum", func(n float64) { value.Min = &n })
	t.number("maximum", func(n float64) { value.Max = &n })
	value.Pattern = tag.Get("pattern")
	if format := tag.Get("format"); format != "" {
		value.Format = format
	}
	if enums := tag.Get("enums"); enums != "" {
		for text := range strings.SplitSeq(enums, ",") {
			value.Enum = append(value.Enum, text)
		}
	}
	schema.ReadOnly = tag.Get("readonly") == "true"
	schema.UniqueItems = tag.Get("uniqueItems") == "true"
	if text, ok := tag.Lookup("default"); ok {
		schema.Default = t.value("default", text, schema)
	}
	if text, ok := tag.Lookup("example"); ok {
		schema.Examples = []any{t.value("example", text, schema)}
	}
	if text, ok := tag.Lookup("exampleJSON"); ok {
		schema.Examples = []any{t.json("exampleJSON", text)}
	}
	return errors.Join(t.faults...)
}

// tags reads tags and collects those that can't be read.
type tags struct {
	reflect.StructTag
	faults []error
}

// number calls set with the number in a tag, if there is one.
func (t *tags) number(name string, set func(float64)) {
	text, ok := t.Lookup(name)
	if !ok {
		return
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.faults = append(t.faults, fmt.Errorf("%s: %w", name, err))
	}
	set(n)
}

// names adds the bounds of the names in a map.
func (t *tags) names(schema *openapi3.Schema) {
	names := &openapi3.Schema{}
	t.number("minName", func(n float64) { names.MinLength = uint64(n) })
	t.number("maxName", func(n float64) { names.MaxLength = new(uint64(n)) })
	if names.MinLength > 0 || names.MaxLength != nil {
		schema.PropertyNames = openapi3.NewSchemaRef("", names)
	}
}

// value parses a value of the schema: a string, a list of strings separated by
// commas, or JSON.
func (t *tags) value(name, text string, schema *openapi3.Schema) any {
	switch {
	case len(schema.AllOf) == 1:
		return t.value(name, text, schema.AllOf[0].Value)
	case schema.Type.Includes(openapi3.TypeArray):
		return strings.Split(text, ",")
	case schema.Type.Includes(openapi3.TypeString):
		return text
	default:
		return t.json(name, text)
	}
}

func (t *tags) json(name, text string) any {
	if !json.Valid([]byte(text)) {
		t.faults = append(t.faults, fmt.Errorf("%s: %q is not JSON", name, text))
	}
	return json.RawMessage(text)
}
