package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// goTypes is what the source says about its types, by swag's name for them ("models.Product"; for a generic type, its
// name without arguments).
type goTypes struct {
	structs    map[string]structInfo
	underlying map[string]ast.Expr // of named types that are no structs, such as type Scope string
	docs       map[string]string   // the first paragraphs of their comments
	constants  map[string]string   // of named types, by name: "models.ScopeAdmin" is "admin"
	enums      map[string][]any    // the same by type: what a models.Scope can be
	operations []annotated
}

// structInfo is what swag leaves out about one Go struct.
type structInfo struct {
	doc    string      // the first paragraph of the type's comment
	fields []fieldInfo // in the order of the source
	embeds []string    // names of the structs whose fields are written as if they were its own
}

// fieldInfo is one field: as encoding/json writes it, or as a parameter carries it.
type fieldInfo struct {
	name    string // its JSON name; "" if it is a parameter alone
	pkg     string // where it is declared, for types named without a package
	typ     ast.Expr
	tag     reflect.StructTag
	doc     string // the first paragraph of its comment
	pointer bool
	always  bool // always written, because it lacks omitempty and omitzero
	time    bool // a time.Time or a pointer to one
}

// readTypes returns the types and the annotated functions below the source's folders.
func readTypes(src source) (*goTypes, error) {
	types := &goTypes{
		structs: map[string]structInfo{}, underlying: map[string]ast.Expr{}, docs: map[string]string{},
		constants: map[string]string{}, enums: map[string][]any{},
	}
	for _, dir := range src.paths() {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			types.addFile(file)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return types, nil
}

func (t *goTypes) addFile(file *ast.File) {
	pkg := file.Name.Name
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if operation, ok := readAnnotations(decl.Doc, pkg); ok {
				t.operations = append(t.operations, operation)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					t.addType(spec, decl.Doc, pkg)
				case *ast.ValueSpec:
					t.addConstants(spec, pkg)
				}
			}
		}
	}
}

func (t *goTypes) addType(typ *ast.TypeSpec, groupDoc *ast.CommentGroup, pkg string) {
	name := pkg + "." + typ.Name.Name
	doc := typ.Doc
	if doc == nil {
		doc = groupDoc
	}
	body, ok := typ.Type.(*ast.StructType)
	if !ok {
		t.underlying[name], t.docs[name] = typ.Type, firstParagraph(doc.Text())
		return
	}
	info := structInfo{doc: firstParagraph(doc.Text())}
	for _, field := range body.Fields.List {
		info.add(field, pkg)
	}
	t.structs[name] = info
}

// addConstants notes texts that have a type of their own.
func (t *goTypes) addConstants(spec *ast.ValueSpec, pkg string) {
	if spec.Type == nil || len(spec.Names) != len(spec.Values) {
		return
	}
	typ := qualifiedName(spec.Type, pkg)
	for i, name := range spec.Names {
		literal, ok := spec.Values[i].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			continue // the compiler refuses it
		}
		t.constants[pkg+"."+name.Name] = text
		t.enums[typ] = append(t.enums[typ], text)
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
	text, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return // the compiler refuses it
	}
	tag := reflect.StructTag(text)
	name, options, _ := strings.Cut(tag.Get("json"), ",")
	if name == "-" {
		name = ""
	}
	doc := field.Doc.Text()
	if doc == "" {
		doc = field.Comment.Text()
	}
	one := fieldInfo{
		name: name, pkg: pkg, typ: typ, tag: tag, doc: firstParagraph(doc), pointer: pointer,
		always: !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero"),
		time:   qualifiedName(typ, pkg) == "time.Time",
	}
	if _, in := one.parameter(); name != "" || in != "" {
		info.fields = append(info.fields, one)
	}
}

// parameter returns the name of the parameter that the field is, and where it stands: query, header or path; "" when it
// is none.
func (f fieldInfo) parameter() (name, in string) {
	for _, place := range []struct{ tag, in string }{{"form", "query"}, {"header", "header"}, {"uri", "path"}} {
		if name, _, _ := strings.Cut(f.tag.Get(place.tag), ","); name != "" && name != "-" {
			return name, place.in
		}
	}
	return "", ""
}

// required reports whether the field's tags ask for a value.
func (f fieldInfo) required() bool {
	return slices.Contains(strings.Split(f.tag.Get("validate")+","+f.tag.Get("binding"), ","), "required")
}

// qualifiedName returns a named type as "package.Type", and "" for any other. Of a generic type it is the name without
// arguments.
func qualifiedName(typ ast.Expr, pkg string) string {
	switch typ := typ.(type) {
	case *ast.Ident:
		return pkg + "." + typ.Name
	case *ast.SelectorExpr:
		if from, ok := typ.X.(*ast.Ident); ok {
			return from.Name + "." + typ.Sel.Name
		}
	case *ast.IndexExpr:
		return qualifiedName(typ.X, pkg)
	}
	return ""
}

// fieldsOf returns the fields of a struct as JSON shows them: those of embedded structs stand where they are embedded,
// and give way to one of the same name outside.
func (t *goTypes) fieldsOf(name string) []fieldInfo {
	info := t.structs[name]
	own := map[string]bool{}
	for _, field := range info.fields {
		own[field.key()] = true
	}
	var fields []fieldInfo
	for _, embedded := range info.embeds {
		for _, field := range t.fieldsOf(embedded) {
			if !own[field.key()] {
				fields = append(fields, field)
			}
		}
	}
	return append(fields, info.fields...)
}

// key tells fields of one struct apart.
func (f fieldInfo) key() string {
	name, in := f.parameter()
	return f.name + "|" + in + "|" + name
}
