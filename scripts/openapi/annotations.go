package main

import (
	"go/ast"
	"slices"
	"strings"
)

// annotated is a function with swag's annotations, as far as this generator reads them itself.
type annotated struct {
	pkg    string
	routes []string // "get /v1/products"
	params []annotatedParam
}

// annotatedParam is one @Param line.
type annotatedParam struct {
	name, in, typ string
}

// readAnnotations returns the annotations of a function's comment; ok is false where it answers no route.
func readAnnotations(doc *ast.CommentGroup, pkg string) (operation annotated, ok bool) {
	if doc == nil {
		return annotated{}, false
	}
	operation.pkg = pkg
	for _, comment := range doc.List {
		words := strings.Fields(strings.TrimPrefix(comment.Text, "//"))
		if len(words) < 3 {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "@param":
			if len(words) > 3 {
				operation.params = append(operation.params, annotatedParam{name: words[1], in: words[2], typ: words[3]})
			}
		case "@router":
			method := strings.ToLower(strings.Trim(words[2], "[]"))
			operation.routes = append(operation.routes, method+" "+words[1])
		}
	}
	return operation, len(operation.routes) > 0
}

// structParams returns the structs, by name, that carry parameters of the operation, and the parameters that stand in the
// annotations themselves.
func (t *goTypes) structParams(operation annotated) (structs []string, direct []annotatedParam) {
	for _, param := range operation.params {
		if !slices.Contains([]string{"query", "header", "path"}, param.in) {
			continue
		}
		name := param.typ
		if !strings.Contains(name, ".") {
			name = operation.pkg + "." + name
		}
		if _, known := t.structs[name]; !known {
			direct = append(direct, param)
		} else if !slices.Contains(structs, name) {
			structs = append(structs, name)
		}
	}
	return structs, direct
}
