package main

import (
	"go/ast"
	"strings"
)

// kind is what a Go type is in JSON.
type kind struct {
	name   string // string, integer, number, boolean, array or object
	format string
	items  *kind // of an array
	named  string
}

// basicKinds are Go's own types. The formats are those of the OpenAPI registry; int is 64 bits wide wherever this runs.
var basicKinds = map[string]kind{
	"string": {name: "string"}, "bool": {name: "boolean"},
	"int": {name: "integer", format: "int64"}, "int64": {name: "integer", format: "int64"},
	"int32": {name: "integer", format: "int32"}, "float64": {name: "number", format: "double"},
}

// foreignKinds are types of other modules that are written as text.
var foreignKinds = map[string]kind{
	"time.Time": {name: "string", format: "date-time"}, "netip.Prefix": {name: "string"}, "netip.Addr": {name: "string"},
}

// kindOf returns what a field's type is in JSON; ok is false for structs and for what isn't known.
func (t *goTypes) kindOf(field fieldInfo) (k kind, ok bool) {
	if custom := field.tag.Get("swaggertype"); custom != "" {
		name, items, list := strings.Cut(custom, ",")
		k = kind{name: name}
		if list {
			k.items = &kind{name: items}
		}
		return k, true
	}
	return t.kindOfType(field.typ, field.pkg)
}

func (t *goTypes) kindOfType(typ ast.Expr, pkg string) (kind, bool) {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return t.kindOfType(typ.X, pkg)
	case *ast.ArrayType:
		items, ok := t.kindOfType(typ.Elt, pkg)
		return kind{name: "array", items: &items}, ok
	case *ast.IndexExpr: // a wrapper that says whether there was a value, such as optional[string]
		return t.kindOfType(typ.Index, pkg)
	case *ast.Ident:
		if basic, ok := basicKinds[typ.Name]; ok {
			return basic, true
		}
	}
	name := qualifiedName(typ, pkg)
	if foreign, ok := foreignKinds[name]; ok {
		return foreign, true
	}
	under, ok := t.underlying[name]
	if !ok {
		return kind{}, false
	}
	k, ok := t.kindOfType(under, strings.SplitN(name, ".", 2)[0])
	k.named = name
	return k, ok
}
