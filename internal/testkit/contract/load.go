package contract

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// loader converts a description to operations. It collects the schemas and compiles them at the end, in one resource with
// the components that they refer to.
type loader struct {
	components map[string]any
	schemas    []any
	compiled   []*jsonschema.Schema // filled in place by compile
	faults     []error
}

func newLoader(root map[string]any) *loader {
	closeObjects(root["components"])
	closeObjects(root["paths"])
	return &loader{components: object(root["components"])}
}

// closeObjects sets additionalProperties to false in every object schema with properties that lacks it.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, open := node["additionalProperties"]; !open && object(node["properties"]) != nil && node["type"] != nil {
			node["additionalProperties"] = false
		}
		for name, child := range node {
			if name != "example" && name != "examples" {
				closeObjects(child)
			}
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// schema registers a schema. The result is usable after compile. It is nil if node is.
func (l *loader) schema(node any) *jsonschema.Schema {
	if node == nil {
		return nil
	}
	l.schemas = append(l.schemas, node)
	l.compiled = append(l.compiled, &jsonschema.Schema{})
	return l.compiled[len(l.compiled)-1]
}

// compile compiles the registered schemas.
func (l *loader) compile() error {
	const resource = "openapi:schemas"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(resource, map[string]any{"components": l.components, "registered": l.schemas}); err != nil {
		return err
	}
	for i, into := range l.compiled {
		compiled, err := compiler.Compile(fmt.Sprintf("%s#/registered/%d", resource, i))
		if err != nil {
			return err
		}
		*into = *compiled
	}
	return errors.Join(l.faults...)
}

func (l *loader) operation(method, path string, node map[string]any) *operation {
	op := &operation{
		name: text(node["operationId"]), method: strings.ToUpper(method), path: path,
		segments: strings.Split(path, "/"), responses: map[int]response{},
	}
	params, _ := node["parameters"].([]any)
	for _, param := range params {
		op.params = append(op.params, l.parameter(l.resolve(param)))
	}
	if given := l.resolve(node["requestBody"]); given != nil {
		required, _ := given["required"].(bool)
		op.body = &body{required: required, content: l.content(given)}
	}
	for code, given := range object(node["responses"]) {
		status, err := strconv.Atoi(code)
		if err != nil {
			l.faults = append(l.faults, fmt.Errorf("%s: status %q is not a number", op.name, code))
			continue
		}
		op.responses[status] = l.response(l.resolve(given))
	}
	return op
}

func (l *loader) response(node map[string]any) response {
	described := response{content: l.content(node)}
	for name, header := range object(node["headers"]) {
		param := l.parameter(l.resolve(header))
		param.name = name
		described.headers = append(described.headers, param)
	}
	return described
}

func (l *loader) parameter(node map[string]any) parameter {
	schema := object(node["schema"])
	if name, ok := strings.CutPrefix(text(schema["$ref"]), "#/components/schemas/"); ok {
		schema = object(object(l.components["schemas"])[name])
	}
	required, _ := node["required"].(bool)
	param := parameter{
		name: text(node["name"]), in: text(node["in"]), required: required,
		typ: text(schema["type"]), schema: l.schema(node["schema"]),
	}
	if param.typ == "array" {
		param.list, param.typ = true, text(object(schema["items"])["type"])
	}
	return param
}

func (l *loader) content(node map[string]any) map[string]*jsonschema.Schema {
	content := map[string]*jsonschema.Schema{}
	for mediaType, media := range object(node["content"]) {
		content[mediaType] = l.schema(object(media)["schema"])
	}
	return content
}

// resolve follows a reference to a component.
func (l *loader) resolve(node any) map[string]any {
	o := object(node)
	ref, ok := strings.CutPrefix(text(o["$ref"]), "#/components/")
	if !ok {
		return o
	}
	kind, name, _ := strings.Cut(ref, "/")
	target := object(object(l.components[kind])[name])
	if target == nil {
		l.faults = append(l.faults, fmt.Errorf("undefined reference to %s", ref))
	}
	return target
}
