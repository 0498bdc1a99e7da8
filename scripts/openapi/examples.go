package main

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// example returns an example of a schema, composed of the examples in it;
// written reports whether there are any. Objects have the properties that are
// required or have a written example, and none that is read-only.
func (s *schemas) example(schema *openapi3.Schema) (value any, written bool) {
	switch {
	case len(schema.Examples) > 0:
		return schema.Examples[0], true
	case len(schema.AllOf) > 0:
		return s.example(schema.AllOf[0].Value)
	case len(schema.AnyOf) > 0:
		return s.example(schema.AnyOf[0].Value)
	case len(schema.Enum) > 0:
		return schema.Enum[0], false
	case schema.Default != nil:
		return schema.Default, false
	case len(schema.Properties) > 0:
		return s.objectExample(schema)
	case schema.Items != nil:
		if item, written := s.example(schema.Items.Value); written {
			return []any{item}, true
		}
		fallthrough
	default:
		return plainValue(schema), false
	}
}

// plainValue returns the simplest value of a schema.
func plainValue(schema *openapi3.Schema) any {
	is := schema.Type.Includes
	switch {
	case is(openapi3.TypeNull):
		return nil
	case is(openapi3.TypeArray):
		return []any{}
	case is(openapi3.TypeObject):
		return object{}
	case is(openapi3.TypeBoolean):
		return false
	case schema.Format == "date-time":
		return "2026-01-15T09:30:00Z"
	case is(openapi3.TypeString):
		return ""
	case schema.Min != nil:
		return *schema.Min
	default:
		return 0
	}
}

func (s *schemas) objectExample(schema *openapi3.Schema) (example object, written bool) {
	for _, name := range s.properties[schema] {
		property := schema.Properties[name].Value
		if property.ReadOnly {
			continue
		}
		value, hasExample := s.example(property)
		if hasExample || slices.Contains(schema.Required, name) {
			example = append(example, member{name, value})
		}
		written = written || hasExample
	}
	return example, written
}
