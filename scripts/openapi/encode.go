package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// The order in which a person looks for things; what isn't named follows by alphabet.
var (
	documentOrder  = []string{"openapi", "info", "servers", "tags", "paths", "components"}
	methodOrder    = []string{"parameters", "get", "head", "post", "put", "patch", "delete", "options"}
	operationOrder = []string{"operationId", "summary", "description", "tags", "security", "parameters", "requestBody", "responses"}
	generalOrder   = []string{"$ref", "name", "in", "title", "type", "format", "description", "required", "schema", "headers", "content"}
)

// encode writes the document without the components that nothing uses, in an order that people can read: properties as
// the Go struct has them, methods from get to delete.
func encode(doc *openapi3.T, types *goTypes, oldNames map[string]string) ([]byte, error) {
	flat, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	decoder := json.NewDecoder(bytes.NewReader(flat))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	dropUnused(tree)

	writer := treeWriter{types: types, oldNames: oldNames}
	if err := writer.value(tree, nil, nil); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, writer.out.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// dropUnused removes components until every one that is left is referenced. Ways to authenticate stay: operations name
// them without a reference.
func dropUnused(tree map[string]any) {
	components, _ := tree["components"].(map[string]any)
	for dropped := true; dropped; {
		dropped = false
		used := map[string]bool{}
		eachRef(tree, func(ref string) string { used[ref] = true; return ref })
		for kind, group := range components {
			named, _ := group.(map[string]any)
			for name := range named {
				if kind != "securitySchemes" && !used["#/components/"+kind+"/"+name] {
					delete(named, name)
					dropped = true
				}
			}
			if len(named) == 0 {
				delete(components, kind)
			}
		}
	}
}

// treeWriter writes decoded JSON with the keys of each object in a chosen order.
type treeWriter struct {
	types    *goTypes
	oldNames map[string]string
	out      bytes.Buffer
}

// value writes node, which stands at path inside parent.
func (w *treeWriter) value(node any, path []string, parent map[string]any) error {
	switch node := node.(type) {
	case map[string]any:
		return w.object(node, path, parent)
	case []any:
		return w.array(node, path)
	}
	encoder := json.NewEncoder(&w.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(node)
}

func (w *treeWriter) object(node map[string]any, path []string, parent map[string]any) error {
	keys := slices.Collect(maps.Keys(node))
	order := w.order(path, parent)
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(order, a), rank(order, b)), strings.Compare(a, b))
	})
	w.out.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(key, nil, nil); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.value(node[key], append(slices.Clip(path), key), node); err != nil {
			return err
		}
	}
	w.out.WriteByte('}')
	return nil
}

func (w *treeWriter) array(node []any, path []string) error {
	w.out.WriteByte('[')
	for i, item := range node {
		if i > 0 {
			w.out.WriteByte(',')
		}
		if err := w.value(item, append(slices.Clip(path), "[]"), nil); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

// order returns the keys that come first in the object at path.
func (w *treeWriter) order(path []string, parent map[string]any) []string {
	switch {
	case len(path) == 0:
		return documentOrder
	case path[0] == "paths" && len(path) == 2:
		return methodOrder
	case path[0] == "paths" && len(path) == 3:
		return operationOrder
	case len(path) == 4 && path[1] == "schemas" && path[3] == "properties":
		return w.fieldNames(path[2])
	case path[len(path)-1] == "example":
		schema, _ := parent["schema"].(map[string]any)
		ref, _ := schema["$ref"].(string)
		return w.fieldNames(strings.TrimPrefix(ref, "#/components/schemas/"))
	}
	return generalOrder
}

// fieldNames returns the fields of the Go struct behind a component schema, in the struct's order.
func (w *treeWriter) fieldNames(schema string) []string {
	goName, _, _ := strings.Cut(w.oldNames[schema], "-")
	if goName == "" {
		goName = "models." + schema
	}
	var names []string
	for _, field := range w.types.fieldsOf(goName) {
		if field.name != "" {
			names = append(names, field.name)
		}
	}
	return names
}

// rank is the place of key in order; what isn't in it comes last.
func rank(order []string, key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}
