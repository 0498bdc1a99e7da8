package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notProblems are codes that no response of the API has: of faults of the input,
// for the log, and of the ops address with the payment gateway of dev mode.
var notProblems = []string{
	"idempotency_key_reused", "client_closed_request", "host_not_allowed",
	"order_voided", "already_captured", "not_authorized", "simulated_failure",
}

// The guide's table has every code of a problem in the source, and no other.
func TestProblems_codes_in_the_source(t *testing.T) {
	var codes []string
	for _, root := range []string{"../middleware", "../models", "../handlers", "../internal"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testkit/") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				ast.Inspect(file, func(n ast.Node) bool { codes = append(codes, codesIn(n)...); return true })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	codes = slices.DeleteFunc(codes, func(code string) bool { return slices.Contains(notProblems, code) })
	slices.Sort(codes)
	codes = slices.Compact(codes)

	guide, err := os.ReadFile("../docs/guide/errors-and-retries.md")
	if err != nil {
		t.Fatal(err)
	}
	var guided []string
	_, table, _ := strings.Cut(string(guide), "| status | `code` |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range strings.Split(table, "\n")[2:] {
		for code := range strings.SplitSeq(strings.Split(row, " | ")[1], ", ") {
			guided = append(guided, strings.Trim(code, "`"))
		}
	}
	slices.Sort(guided)
	if guided = slices.Compact(guided); !slices.Equal(codes, guided) {
		t.Errorf("the source has codes\n%s,\nthe guide\n%s", codes, guided)
	}
}

// codesIn returns the codes that a node gives to problems: the text after a
// status, the value of a member code, or the first argument of a constructor.
func codesIn(n ast.Node) (codes []string) {
	add := func(e ast.Expr) {
		if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if code, err := strconv.Unquote(literal.Value); err == nil && regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(code) {
				codes = append(codes, code)
			}
		}
	}
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		if name, ok := n.Key.(*ast.Ident); ok && strings.EqualFold(name.Name, "code") || isStatus(n.Key) {
			add(n.Value)
		}
	case *ast.CompositeLit:
		for i := 1; i < len(n.Elts); i++ {
			if isStatus(n.Elts[i-1]) {
				add(n.Elts[i])
			}
		}
	case *ast.CallExpr:
		var name string
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if slices.Contains([]string{"Conflict", "Forbidden", "unauthorized"}, name) && len(n.Args) > 0 {
			add(n.Args[0])
		}
	}
	return codes
}

// isStatus reports whether an expression is a status of package net/http.
func isStatus(e ast.Expr) bool {
	selector, ok := e.(*ast.SelectorExpr)
	return ok && strings.HasPrefix(selector.Sel.Name, "Status")
}
