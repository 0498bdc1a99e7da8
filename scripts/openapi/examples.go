package main

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// example returns an example of a schema, composed of the examples in it;
// written reports whether there are any. Objects have the properties that are
// required or have a written example.
func (s *schemas) example(schema *openapi3.Schema) (value any, written bool) {
	is := schema.Type.Includes
	switch {
	case len(schema.Examples) > 0:
		return schema.Examples[0], true
	case len(schema.AllOf) > 0:
		return s.example(schema.AllOf[0].Value)
	case len(schema.AnyOf) > 0:
		return s.example(schema.AnyOf[0].Value)
	case len(schema.Enum) > 0:
		return schema.Enum[0], false
	case len(schema.Properties) > 0:
		return s.objectExample(schema)
	case schema.Items != nil:
		if item, written := s.example(schema.Items.Value); written {
			return []any{item}, true
		}
		return []any{}, false
	case is(openapi3.TypeNull):
		return nil, false
	case is(openapi3.TypeObject):
		return object{}, false
	case is(openapi3.TypeBoolean):
		return false, false
	case is(openapi3.TypeString):
		return "", false
	default:
		return 0, false
	}
}

func (s *schemas) objectExample(schema *openapi3.Schema) (example object, written bool) {
	for _, name := range s.names(schema) {
		value, hasExample := s.example(schema.Properties[name].Value)
		if hasExample || slices.Contains(schema.Required, name) {
			example = append(example, member{name, value})
		}
		written = written || hasExample
	}
	return example, written
}
