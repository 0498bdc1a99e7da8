package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// module is the start of the import paths of this module.
const module = "ratelimiter/"

// source is the part of a package's source that reflection can't see.
type source struct {
	comments  map[string]string // first paragraphs, by "Type" or "Type.Field"
	constants map[string][]any  // values of string constants, by type, in declaration order
}

// sources caches the sources of packages, by import path.
type sources map[string]source

// of returns the source of the package that declares t.
func (s sources) of(t reflect.Type) (source, error) {
	path := t.PkgPath()
	if src, ok := s[path]; ok || path == "" { // "": a type of the language
		return src, nil
	}
	src := source{map[string]string{}, map[string][]any{}}
	names, err := filepath.Glob(filepath.Join(strings.TrimPrefix(path, module), "*.go"))
	if err != nil {
		return src, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return src, err
		}
		for _, decl := range file.Decls {
			src.add(decl)
		}
	}
	s[path] = src
	return src, nil
}

// add collects the comments and constants of a declaration.
func (s source) add(decl ast.Decl) {
	group, ok := decl.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range group.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.addType(spec, group.Doc)
		case *ast.ValueSpec:
			s.addConstants(spec)
		}
	}
}

func (s source) addType(spec *ast.TypeSpec, groupDoc *ast.CommentGroup) {
	name := spec.Name.Name
	s.comments[name] = firstParagraph(spec.Doc, groupDoc)
	if body, ok := spec.Type.(*ast.StructType); ok {
		for _, field := range body.Fields.List {
			for _, ident := range field.Names {
				s.comments[name+"."+ident.Name] = firstParagraph(field.Doc, field.Comment)
			}
		}
	}
}

func (s source) addConstants(spec *ast.ValueSpec) {
	typ, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, value := range spec.Values {
		if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, _ := strconv.Unquote(literal.Value) // never fails: the file was parsed
			s.constants[typ.Name] = append(s.constants[typ.Name], text)
		}
	}
}

// identifierIs is the start of a doc comment that a description leaves out.
var identifierIs = regexp.MustCompile(`^(\w+) (is|are|names) `)

// description returns the description of a type or a field.
func (s source) description(name string) string {
	text := s.comments[name]
	if start := identifierIs.FindStringSubmatch(text); start != nil && start[1] == name[strings.LastIndex(name, ".")+1:] {
		text = text[len(start[0]):]
	}
	return upperFirst(text)
}

// firstParagraph returns the first paragraph of the first comment that isn't
// empty, on one line. Further paragraphs are for readers of the source.
func firstParagraph(comments ...*ast.CommentGroup) string {
	for _, comment := range comments {
		if text := strings.TrimSpace(comment.Text()); text != "" {
			first, _, _ := strings.Cut(text, "\n\n")
			return strings.Join(strings.Fields(first), " ")
		}
	}
	return ""
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
