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
	value, most := schema, &schema.MaxItems
	switch {
	case schema.AdditionalProperties.Schema != nil:
		value, most = schema.AdditionalProperties.Schema.Value, &schema.MaxProps
	case schema.Items != nil && schema.Items.Ref == "":
		value = schema.Items.Value
	}
	names := &openapi3.Schema{} // of a map
	err := numbers(tag, map[string]func(float64){
		"minLength": func(n float64) { value.MinLength = uint64(n) },
		"maxLength": func(n float64) { value.MaxLength = new(uint64(n)) },
		"minimum":   func(n float64) { value.Min = &n },
		"maximum":   func(n float64) { value.Max = &n },
		"minName":   func(n float64) { names.MinLength = uint64(n) },
		"maxName":   func(n float64) { names.MaxLength = new(uint64(n)) },
		"minItems":  func(n float64) { schema.MinItems = uint64(n) },
		"maxItems":  func(n float64) { *most = new(uint64(n)) },
	})
	if names.MinLength > 0 || names.MaxLength != nil {
		schema.PropertyNames = names.NewRef()
	}
	value.Pattern = tag.Get("pattern")
	if format := tag.Get("format"); format != "" {
		value.Format = format
	}
	if enums := tag.Get("enums"); enums != "" {
		for text := range strings.SplitSeq(enums, ",") {
			value.Enum = append(value.Enum, text)
		}
	}
	schema.UniqueItems = tag.Get("uniqueItems") == "true"
	if text, ok := tag.Lookup("default"); ok {
		schema.Default = tagValue(text, schema)
	}
	if text, ok := tag.Lookup("example"); ok {
		schema.Examples = []any{tagValue(text, schema)}
	}
	if text, ok := tag.Lookup("exampleJSON"); ok {
		schema.Examples = []any{json.RawMessage(text)}
	}
	if _, invalid := json.Marshal([]any{schema.Default, schema.Examples}); invalid != nil {
		err = errors.Join(err, fmt.Errorf("default or example: %w", invalid))
	}
	return err
}

// numbers calls set for every tag with the number in it.
func numbers(tag reflect.StructTag, setters map[string]func(float64)) error {
	var faults []error
	for name, set := range setters {
		if text, ok := tag.Lookup(name); ok {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", name, err))
			}
			set(n)
		}
	}
	return errors.Join(faults...)
}

// tagValue parses a value of the schema: a string, a list of strings separated
// by commas, or JSON.
func tagValue(text string, schema *openapi3.Schema) any {
	switch {
	case len(schema.AllOf) == 1:
		return tagValue(text, schema.AllOf[0].Value)
	case schema.Type.Includes(openapi3.TypeArray):
		return strings.Split(text, ",")
	case schema.Type.Includes(openapi3.TypeString):
		return text
	default:
		return json.RawMessage(text)
	}
}
