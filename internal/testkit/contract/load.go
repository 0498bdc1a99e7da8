package contract

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// loader turns a description into operations. Schemas are gathered on the way and compiled together at the end, in one
// resource with the components that they refer to.
type loader struct {
	components map[string]any
	schemas    []any
	compiled   []*jsonschema.Schema // filled in by compile, in place
	faults     []error
}

func newLoader(root map[string]any) *loader {
	closeObjects(root["components"])
	closeObjects(root["paths"])
	return &loader{components: object(root["components"])}
}

// closeObjects makes every schema with properties refuse all others, unless it says what they are.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, says := node["additionalProperties"]; !says && object(node["properties"]) != nil && node["type"] != nil {
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

// schema notes a schema to be compiled; what it returns is usable after compile. nil stays nil.
func (l *loader) schema(node any) *jsonschema.Schema {
	if node == nil {
		return nil
	}
	l.schemas = append(l.schemas, node)
	l.compiled = append(l.compiled, &jsonschema.Schema{})
	return l.compiled[len(l.compiled)-1]
}

// compile compiles the schemas that were noted.
func (l *loader) compile() error {
	const resource = "openapi:schemas"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource(resource, map[string]any{"components": l.components, "noted": l.schemas}); err != nil {
		return err
	}
	for i, into := range l.compiled {
		compiled, err := compiler.Compile(fmt.Sprintf("%s#/noted/%d", resource, i))
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
			l.faults = append(l.faults, fmt.Errorf("%s: status %q is no number", op.name, code))
			continue
		}
		op.responses[status] = l.response(l.resolve(given))
	}
	return op
}

func (l *loader) response(node map[string]any) response {
	answer := response{content: l.content(node)}
	for name, header := range object(node["headers"]) {
		param := l.parameter(l.resolve(header))
		param.name = name
		answer.headers = append(answer.headers, param)
	}
	return answer
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
		l.faults = append(l.faults, fmt.Errorf("there is no %s", ref))
	}
	return target
}
