package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
)

// structInfo is what swag leaves out about one Go struct.
type structInfo struct {
	doc    string      // the type's comment, without line breaks
	fields []fieldInfo // in the order of the source
	embeds []string    // names of the structs whose fields are written as if they were its own
}

// fieldInfo is one field as encoding/json writes it.
type fieldInfo struct {
	name    string // its JSON name
	pointer bool
	always  bool // always written, because it lacks omitempty and omitzero
	time    bool // a time.Time or a pointer to one
}

// readStructs returns the exported structs below the source's folders by swag's name for them ("models.Product"; for a
// generic type, its name without arguments).
func readStructs(src source) (map[string]structInfo, error) {
	structs := map[string]structInfo{}
	for _, dir := range src.paths() {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			addStructs(structs, file)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return structs, nil
}

func addStructs(structs map[string]structInfo, file *ast.File) {
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			typ := spec.(*ast.TypeSpec)
			body, ok := typ.Type.(*ast.StructType)
			if !ok {
				continue
			}
			doc := typ.Doc
			if doc == nil {
				doc = gen.Doc
			}
			info := structInfo{doc: strings.Join(strings.Fields(doc.Text()), " ")}
			for _, field := range body.Fields.List {
				info.add(field, file.Name.Name)
			}
			structs[file.Name.Name+"."+typ.Name.Name] = info
		}
	}
}

// add notes one field of a struct in package pkg.
func (info *structInfo) add(field *ast.Field, pkg string) {
	typ := field.Type
	star, pointer := typ.(*ast.StarExpr)
	if pointer {
		typ = star.X
	}
	if len(field.Names) == 0 {
		info.embeds = append(info.embeds, qualifiedName(typ, pkg))
		return
	}
	if field.Tag == nil {
		return
	}
	tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
	name, options, _ := strings.Cut(tag, ",")
	if name == "" || name == "-" {
		return
	}
	info.fields = append(info.fields, fieldInfo{
		name:    name,
		pointer: pointer,
		always:  !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero"),
		time:    qualifiedName(typ, pkg) == "time.Time",
	})
}

// qualifiedName returns a named type as "package.Type", and "" for any other.
func qualifiedName(typ ast.Expr, pkg string) string {
	switch typ := typ.(type) {
	case *ast.Ident:
		return pkg + "." + typ.Name
	case *ast.SelectorExpr:
		if from, ok := typ.X.(*ast.Ident); ok {
			return from.Name + "." + typ.Sel.Name
		}
	}
	return ""
}

// fieldsOf returns the fields of a struct as JSON shows them: those of embedded structs stand where they are embedded.
func fieldsOf(structs map[string]structInfo, name string) []fieldInfo {
	info := structs[name]
	var fields []fieldInfo
	for _, embedded := range info.embeds {
		fields = append(fields, fieldsOf(structs, embedded)...)
	}
	return append(fields, info.fields...)
}
