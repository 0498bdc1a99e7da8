package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// source is the part of the source code that reflection can't see, by names such as
// models.Key and models.Key.ID.
type source struct {
	comments  map[string]string     // first paragraphs
	constants map[string][]constant // string constants by type, in declaration order
}

// constant is a value of a string type.
type constant struct{ value, meaning string }

// readSource reads the packages in folders of the first level, which declare the
// types of the API.
func readSource() (source, error) {
	s := source{map[string]string{}, map[string][]constant{}}
	names, err := filepath.Glob("*/*.go")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return s, err
		}
		s.add(file)
	}
	return s, err
}

// add adds the comments and the constants of a file.
func (s source) add(file *ast.File) {
	var group *ast.CommentGroup
	var owner string
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GenDecl:
			group = node.Doc
		case *ast.TypeSpec:
			owner = file.Name.Name + "." + node.Name.Name
			s.comments[owner] = firstParagraph(node.Doc, group)
		case *ast.Field:
			for _, name := range node.Names {
				s.comments[owner+"."+name.Name] = firstParagraph(node.Doc, node.Comment)
			}
		case *ast.ValueSpec:
			if typ, ok := node.Type.(*ast.Ident); ok {
				s.addConstants(file.Name.Name+"."+typ.Name, node)
			}
			return false
		case *ast.FuncDecl:
			return false
		}
		return true
	})
}

// addConstants adds the string literals that a type's constants are declared
// with.
func (s source) addConstants(typ string, spec *ast.ValueSpec) {
	for i, value := range spec.Values {
		if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, _ := strconv.Unquote(literal.Value) // never fails: the file was parsed
			meaning := strings.TrimPrefix(firstParagraph(spec.Doc, spec.Comment), spec.Names[i].Name+" ")
			s.constants[typ] = append(s.constants[typ], constant{text, strings.TrimSuffix(meaning, ".")})
		}
	}
}

// values returns the values of a type's constants.
func (s source) values(typ string) (values []any) {
	for _, c := range s.constants[typ] {
		values = append(values, c.value)
	}
	return values
}

// meanings returns a list of the values of a type's constants and their
// meanings, in Markdown.
func (s source) meanings(typ string) string {
	var b strings.Builder
	for _, c := range s.constants[typ] {
		fmt.Fprintf(&b, "\n- `%s`: %s", c.value, c.meaning)
	}
	return b.String()
}

// identifierIs is the start of a doc comment that a description leaves out.
var identifierIs = regexp.MustCompile(`^(\w+) (is|are|names) `)

// description returns the description of a type, or of a field such as
// models.Key.ID.
func (s source) description(name string) string {
	text := s.comments[name]
	if start := identifierIs.FindStringSubmatch(text); start != nil && strings.HasSuffix(name, "."+start[1]) {
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
