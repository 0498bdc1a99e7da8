package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// exampleDepth bounds how deep examples nest: no body is deeper, and a schema that holds itself has an end.
const exampleDepth = 8

// addExamples gives every JSON body that has none an example, composed of its fields' examples.
func addExamples(doc *openapi3.T) {
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody != nil && op.RequestBody.Value != nil {
				addBodyExamples(op.RequestBody.Value.Content)
			}
			for code, response := range op.Responses.Map() {
				switch {
				case response.Value == nil:
				case strings.HasPrefix(code, "2"):
					addBodyExamples(response.Value.Content)
				case response.Ref == "":
					ownErrorExample(op, path, code, response.Value)
				}
			}
		}
	}
}

func addBodyExamples(content openapi3.Content) {
	for mediaType, media := range content {
		if media.Example != nil || len(media.Examples) > 0 || !strings.HasSuffix(mediaType, "json") {
			continue
		}
		if example, ok := exampleOf(media.Schema, exampleDepth); ok {
			media.Example = example
		}
	}
}

// ownErrorExample makes the shared example of an error that the operation describes itself one of this operation: with
// its path, and what it says. What is wrong with an input is told the same way everywhere.
func ownErrorExample(op *openapi3.Operation, path, code string, response *openapi3.Response) {
	media := response.Content[problemType]
	if media == nil {
		return
	}
	common, ok := media.Example.(map[string]any)
	if !ok {
		return
	}
	for _, param := range op.Parameters {
		if param.Value != nil && param.Value.In == openapi3.ParameterInPath {
			path = strings.ReplaceAll(path, "{"+param.Value.Name+"}", fmt.Sprint(param.Value.Example))
		}
	}
	example := maps.Clone(common)
	example["instance"] = path
	if code != "422" && response.Description != nil {
		example["detail"] = strings.TrimSuffix(*response.Description, ".") + "."
	}
	media.Example = example
}

// exampleOf composes an example of a schema; ok is false where nothing says what a value looks like. Objects have the
// properties that are required or have an example of their own or in them.
func exampleOf(ref *openapi3.SchemaRef, depth int) (example any, ok bool) {
	if ref == nil || ref.Value == nil || depth == 0 {
		return nil, false
	}
	schema := ref.Value
	switch {
	case len(schema.Examples) > 0:
		return schema.Examples[0], true
	case schema.Example != nil:
		return schema.Example, true
	case len(schema.Enum) > 0:
		return schema.Enum[0], true
	case len(schema.AllOf) == 1:
		return exampleOf(schema.AllOf[0], depth-1)
	case len(schema.AnyOf) > 0:
		return exampleOf(schema.AnyOf[0], depth-1)
	case schema.Type.Includes(openapi3.TypeArray):
		item, ok := exampleOf(schema.Items, depth-1)
		return []any{item}, ok
	case len(schema.Properties) > 0:
		return objectExample(schema, depth), true
	}
	return nil, false
}

func objectExample(schema *openapi3.Schema, depth int) map[string]any {
	object := map[string]any{}
	for name, property := range schema.Properties {
		required := slices.Contains(schema.Required, name)
		if !required && !told(property, depth) {
			continue
		}
		if value, ok := exampleOf(property, depth-1); ok {
			object[name] = value
		} else if required {
			object[name] = plainValue(property.Value)
		}
	}
	return object
}

// told reports whether a schema, or a part of it, has an example that somebody wrote.
func told(ref *openapi3.SchemaRef, depth int) bool {
	if ref == nil || ref.Value == nil || depth == 0 {
		return false
	}
	schema := ref.Value
	if len(schema.Examples) > 0 || schema.Example != nil {
		return true
	}
	parts := slices.Concat(schema.AllOf, schema.AnyOf, openapi3.SchemaRefs{schema.Items}, slices.Collect(maps.Values(schema.Properties)))
	return slices.ContainsFunc(parts, func(part *openapi3.SchemaRef) bool { return told(part, depth-1) })
}

// plainValue is the simplest value of a schema that has no example.
func plainValue(schema *openapi3.Schema) any {
	switch {
	case schema.Default != nil:
		return schema.Default
	case schema.Type.Includes(openapi3.TypeNull):
		return nil
	case schema.Type.Includes(openapi3.TypeArray):
		return []any{}
	case schema.Type.Includes(openapi3.TypeObject):
		return map[string]any{}
	case schema.Type.Includes(openapi3.TypeBoolean):
		return false
	case schema.Format == "date-time":
		return "2026-01-15T09:30:00Z"
	case schema.Type.Includes(openapi3.TypeString):
		return ""
	case schema.Min != nil:
		return *schema.Min
	default:
		return 0
	}
}

// addParameterExamples shows what a parameter looks like: by its own example, or by that of the property which it
// selects by, such as the id of what GET of the path gives. In the path, where a value is needed, the docs pages fill it
// in; elsewhere it is only shown, so that trying an operation filters nothing.
func addParameterExamples(doc *openapi3.T) {
	for path, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, ref := range op.Parameters {
				param := ref.Value
				if param == nil || param.Schema == nil || param.Schema.Value == nil {
					continue
				}
				example, ok := param.Extensions[exampleKey]
				delete(param.Extensions, exampleKey)
				if !ok {
					example, ok = exampleFromAnswer(doc, path, op, param)
				}
				if !ok {
					example, ok = usualValue(param.Schema.Value)
				}
				switch {
				case !ok || param.Example != nil:
				case param.In == openapi3.ParameterInPath:
					param.Example = example
				case len(param.Schema.Value.Examples) == 0:
					param.Schema.Value.Examples = []any{example}
				}
			}
		}
	}
}

// usualValue is a value that a parameter's schema itself tells.
func usualValue(schema *openapi3.Schema) (any, bool) {
	switch {
	case schema.Default != nil:
		return schema.Default, true
	case len(schema.Enum) > 0:
		return schema.Enum[0], true
	case schema.Format == "date-time":
		return plainValue(schema), true
	default:
		return nil, false
	}
}

// exampleFromAnswer looks for a property of the parameter's name: in what the operation answers, item by item if it is a
// list, and in what GET of the path answers that ends with the parameter.
func exampleFromAnswer(doc *openapi3.T, path string, op *openapi3.Operation, param *openapi3.Parameter) (any, bool) {
	answers := []*openapi3.Operation{op}
	if head, _, found := strings.Cut(path, "{"+param.Name+"}"); found {
		if item := doc.Paths.Value(head + "{" + param.Name + "}"); item != nil && item.Get != nil {
			answers = []*openapi3.Operation{item.Get, op}
		}
	}
	for _, answer := range answers {
		schema := answerSchema(answer)
		if schema == nil {
			continue
		}
		if data := schema.Properties["data"]; data != nil && data.Value != nil && data.Value.Items != nil {
			schema = data.Value.Items.Value
		}
		if property := schema.Properties[param.Name]; property != nil {
			return exampleOf(property, exampleDepth)
		}
	}
	return nil, false
}

// answerSchema is the JSON schema of an operation's success; nil if it has none.
func answerSchema(op *openapi3.Operation) *openapi3.Schema {
	for _, code := range []string{"200", "201"} {
		response := op.Responses.Value(code)
		if response == nil || response.Value == nil {
			continue
		}
		if media := response.Value.Content["application/json"]; media != nil && media.Schema != nil {
			return media.Schema.Value
		}
	}
	return nil
}
