package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// rateLimit is what the route table says about one operation: the value of x-ratelimit.
type rateLimit struct {
	Scope string `json:"scope"` // what a key must hold; "": nothing, any key will do, and open routes need none
	Group string `json:"group"` // policies of this group apply, and those of none
	Cost  int64  `json:"cost"`  // units that a call takes from each policy that applies
}

const rateLimitKey = "x-ratelimit"

// pathParameter is a path's parameter as gin spells it.
var pathParameter = regexp.MustCompile(`[:*](\w+)`)

// readRouteTable returns what routes.go says, by "get /v1/products/{id}". It reads literals of the type route: those with
// fields by name, and those of (method, path, handler, scope, group, cost), whose values are constants of net/http, of
// models, or plain ones. Whatever else is written there is an error: nothing may be guessed.
func readRouteTable(src source, types *goTypes) (map[string]rateLimit, error) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(src.root, "routes.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	table := routeTable{types: types, methods: map[string]string{}, routes: map[string]rateLimit{}}
	ast.Inspect(file, table.visit)
	if len(table.faults) == 0 && len(table.routes) == 0 {
		table.faults = append(table.faults, errors.New("there is no route in it"))
	}
	if err := errors.Join(table.faults...); err != nil {
		return nil, fmt.Errorf("routes.go: %w", err)
	}
	return table.routes, nil
}

// routeTable gathers routes while it walks over routes.go.
type routeTable struct {
	types   *goTypes
	methods map[string]string // local names of methods: get is GET
	routes  map[string]rateLimit
	faults  []error
}

func (t *routeTable) visit(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.ValueSpec: // const get, post = http.MethodGet, http.MethodPost
		for i, name := range node.Names {
			if i < len(node.Values) {
				if method, ok := httpMethod(node.Values[i]); ok {
					t.methods[name.Name] = method
				}
			}
		}
	case *ast.CompositeLit:
		list, ok := node.Type.(*ast.ArrayType)
		if !ok {
			return true
		}
		if element, ok := list.Elt.(*ast.Ident); !ok || element.Name != "route" {
			return true
		}
		for _, element := range node.Elts {
			if err := t.add(element); err != nil {
				t.faults = append(t.faults, err)
			}
		}
		return false
	}
	return true
}

// httpMethod returns GET for http.MethodGet.
func httpMethod(value ast.Expr) (string, bool) {
	selector, ok := value.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}
	name, ok := strings.CutPrefix(selector.Sel.Name, "Method")
	return strings.ToUpper(name), ok
}

// routeFields are the fields of a route in their order.
var routeFields = []string{"method", "path", "handler", "scope", "group", "cost"}

// add notes one line of the table.
func (t *routeTable) add(element ast.Expr) error {
	literal, ok := element.(*ast.CompositeLit)
	if !ok {
		return errors.New("a route isn't written as a literal")
	}
	fields := map[string]ast.Expr{}
	for i, value := range literal.Elts {
		if pair, named := value.(*ast.KeyValueExpr); named {
			fields[fmt.Sprint(pair.Key)] = pair.Value
		} else if i < len(routeFields) {
			fields[routeFields[i]] = value
		}
	}
	path, err := t.text(fields["path"])
	if err != nil {
		return fmt.Errorf("a route's path: %w", err)
	}
	method := ""
	if name, ok := fields["method"].(*ast.Ident); ok {
		method = t.methods[name.Name]
	} else if fields["method"] != nil {
		method, _ = httpMethod(fields["method"])
	}
	if method == "" {
		return fmt.Errorf("route %s: its method is none of net/http's constants", path)
	}
	var limit rateLimit
	if limit.Scope, err = t.text(fields["scope"]); err != nil {
		return fmt.Errorf("route %s: scope: %w", path, err)
	}
	if limit.Group, err = t.text(fields["group"]); err != nil {
		return fmt.Errorf("route %s: group: %w", path, err)
	}
	if limit.Cost, err = t.number(fields["cost"]); err != nil {
		return fmt.Errorf("route %s: cost: %w", path, err)
	}
	t.routes[strings.ToLower(method)+" "+pathParameter.ReplaceAllString(path, "{$1}")] = limit
	return nil
}

// text returns the value of a literal or of a constant; "" for a field that isn't there.
func (t *routeTable) text(value ast.Expr) (string, error) {
	switch value := value.(type) {
	case nil:
		return "", nil
	case *ast.BasicLit:
		return strconv.Unquote(value.Value)
	}
	name := qualifiedName(value, "main")
	if text, ok := t.types.constants[name]; ok {
		return text, nil
	}
	return "", fmt.Errorf("%q is no constant of these packages", name)
}

func (t *routeTable) number(value ast.Expr) (int64, error) {
	if value == nil {
		return 0, nil
	}
	literal, ok := value.(*ast.BasicLit)
	if !ok {
		return 0, errors.New("is not written as a number")
	}
	return strconv.ParseInt(literal.Value, 10, 64)
}

// addRateLimits puts x-ratelimit on every operation, and a line that people can read below its description. An operation
// without a route is an error.
func addRateLimits(doc *openapi3.T, table map[string]rateLimit) error {
	var faults []error
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			limit, ok := table[strings.ToLower(method)+" "+path]
			if !ok {
				faults = append(faults, fmt.Errorf("%s %s is described, and routes.go has no such route", method, path))
				continue
			}
			if op.Extensions == nil {
				op.Extensions = map[string]any{}
			}
			op.Extensions[rateLimitKey] = limit
			op.Description = strings.TrimSpace(op.Description + "\n\n" + limit.line(secured(op)))
		}
	}
	return errors.Join(faults...)
}

// secured reports whether an operation needs a key.
func secured(op *openapi3.Operation) bool { return op.Security != nil && len(*op.Security) > 0 }

// line tells a reader of the docs pages what the operation asks for.
func (l rateLimit) line(secured bool) string {
	switch {
	case !secured:
		return "**Open** to everybody, and costs nothing."
	case l.Scope == "" && l.Cost == 0:
		return "**Scope:** any key · **Cost:** 0, within 50 requests a second"
	case l.Scope == "":
		return fmt.Sprintf("**Scope:** any key · **Cost:** %d", l.Cost)
	default:
		return fmt.Sprintf("**Scope:** `%s` · **Cost:** %d", l.Scope, l.Cost)
	}
}
