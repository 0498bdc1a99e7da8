package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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
	var faults []error
	for name, rule := range map[string]any{
		"minLength": &value.MinLength, "maxLength": &value.MaxLength, "minimum": &value.Min, "maximum": &value.Max,
		"minName": &names.MinLength, "maxName": &names.MaxLength, "minItems": &schema.MinItems, "maxItems": most,
		"uniqueItems": &schema.UniqueItems, "readonly": &schema.ReadOnly,
	} {
		if text, ok := tag.Lookup(name); ok {
			if err := json.Unmarshal([]byte(text), rule); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
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
	if text, ok := tag.Lookup("default"); ok {
		schema.Default = tagValue(text, schema)
	}
	if text, ok := tag.Lookup("example"); ok {
		schema.Examples = []any{tagValue(text, schema)}
	}
	if text, ok := tag.Lookup("exampleJSON"); ok {
		schema.Examples = []any{json.RawMessage(text)}
	}
	if _, err := json.Marshal([]any{schema.Default, schema.Examples}); err != nil {
		faults = append(faults, fmt.Errorf("default or example: %w", err))
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
