package main

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// exampleOf returns an example of a schema, composed of the examples in it;
// written reports whether there are any. Objects have the properties that are
// required or have a written example.
func exampleOf(schema *openapi3.Schema) (value any, written bool) {
	is := schema.Type.Includes
	switch {
	case len(schema.Examples) > 0:
		return schema.Examples[0], true
	case len(schema.AllOf) > 0:
		return exampleOf(schema.AllOf[0].Value)
	case len(schema.AnyOf) > 0:
		return exampleOf(schema.AnyOf[0].Value)
	case len(schema.Enum) > 0:
		return schema.Enum[0], false
	case len(propertiesOf(schema)) > 0:
		return objectExample(schema)
	case schema.Items != nil:
		if item, written := exampleOf(schema.Items.Value); written {
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

func objectExample(schema *openapi3.Schema) (example object, written bool) {
	for _, property := range propertiesOf(schema) {
		value, hasExample := exampleOf(property.value.(*openapi3.SchemaRef).Value)
		if hasExample || slices.Contains(schema.Required, property.name) {
			example = append(example, member{property.name, value})
		}
		written = written || hasExample
	}
	return example, written
}
