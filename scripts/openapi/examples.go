package main

import (
	"encoding/json"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// exampleOf returns an example of a schema, composed of the examples in it;
// written reports whether there are any. Objects have the properties that are
// required or have a written example, and none that is read-only; encode reports
// required strings and booleans without one.
func exampleOf(schema *openapi3.Schema) (value any, written bool) {
	switch {
	case len(schema.Examples) > 0:
		return schema.Examples[0], true
	case len(schema.AllOf)+len(schema.AnyOf) > 0:
		return exampleOf(slices.Concat(schema.AllOf, schema.AnyOf)[0].Value)
	case len(propertiesOf(schema)) > 0:
		return objectExample(schema)
	case schema.Items != nil:
		if item, written := exampleOf(schema.Items.Value); written {
			return []any{item}, true
		}
		return []any{}, false
	case schema.Type.Includes(openapi3.TypeNull):
		return nil, false
	case schema.Type.Includes(openapi3.TypeObject):
		return object{}, false
	default:
		return 0, false
	}
}

func objectExample(schema *openapi3.Schema) (example object, written bool) {
	for _, property := range propertiesOf(schema) {
		described := property.value.(*openapi3.SchemaRef).Value
		if described.ReadOnly {
			continue
		}
		value, hasExample := exampleOf(described)
		if hasExample || slices.Contains(schema.Required, property.name) {
			example = append(example, member{property.name, value})
		}
		written = written || hasExample
	}
	return example, written
}

// object is a JSON object whose members stay in order. openapi3 sorts those of
// maps.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON encodes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, m := range o {
		member, err := json.Marshal(map[string]any{m.name: m.value})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, member[1:len(member)-1]...) // without braces
	}
	return append(text, '}'), nil
}
