// Package contract checks requests and answers against an OpenAPI 3.1 description: what the server accepted and what it
// gave must be what the description says, and nothing that it doesn't say. Schemas are JSON Schema 2020-12, and objects
// are taken to be closed: a property that isn't described is a fault, also where the description leaves others open.
//
// It is for tests, and knows OpenAPI as far as this project uses it.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Exchange is one request and its answer.
type Exchange struct {
	Method        string
	URL           *url.URL
	RequestHeader http.Header
	RequestBody   []byte
	Status        int
	Header        http.Header
	Body          []byte
}

// Contract is a description that exchanges can be checked against. It may be used from any goroutine.
type Contract struct {
	operations []*operation
	problem    *jsonschema.Schema // of answers where there is no operation
}

// operation is one method of one path.
type operation struct {
	name      string   // its operationId
	method    string   // in upper case
	path      string   // /v1/products/{id}
	segments  []string // of the path, split at slashes
	params    []parameter
	body      *body // nil: it takes none
	responses map[int]response
}

// parameter is a part of the path or query, or a header.
type parameter struct {
	name, in string
	required bool
	typ      string // of its value, or of each item's
	list     bool
	schema   *jsonschema.Schema
}

type body struct {
	required bool
	content  map[string]*jsonschema.Schema // by media type; a nil schema is anything
}

type response struct {
	headers []parameter
	content map[string]*jsonschema.Schema
}

// Load reads a description. The error says what in it can't be read.
func Load(document []byte) (*Contract, error) {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	root, ok := decoded.(map[string]any)
	if !ok {
		return nil, errors.New("the description is no JSON object")
	}
	loading := newLoader(root)
	c := &Contract{}
	for path, item := range object(root["paths"]) {
		for method, op := range object(item) {
			c.operations = append(c.operations, loading.operation(method, path, object(op)))
		}
	}
	c.problem = loading.schema(map[string]any{"$ref": "#/components/schemas/Problem"})
	// A literal path is found before one with parameters that fits too.
	slices.SortFunc(c.operations, func(a, b *operation) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return c, loading.compile()
}

// sortKey puts literal segments before parameters.
func (op *operation) sortKey() string {
	return strings.ReplaceAll(op.path, "{", "\xff") + " " + op.method
}

// Statuses returns the statuses that the description names, by operationId, in ascending order.
func (c *Contract) Statuses() map[string][]int {
	statuses := map[string][]int{}
	for _, op := range c.operations {
		statuses[op.name] = slices.Sorted(maps.Keys(op.responses))
	}
	return statuses
}

// Route returns the method and the path, with its parameters in braces, of an operation; "" when there is none.
func (c *Contract) Route(operationID string) (method, path string) {
	for _, op := range c.operations {
		if op.name == operationID {
			return op.method, op.path
		}
	}
	return "", ""
}

// Check returns everything in an exchange that the description doesn't say; nil if it says all of it. Answers to HEAD are
// checked as those to GET, but for the body, which they lack.
func (c *Contract) Check(e Exchange) error {
	method := e.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, values := c.find(method, e.URL.EscapedPath())
	if op == nil {
		return c.checkNowhere(e)
	}
	answer, documented := op.responses[e.Status]
	if !documented {
		return fmt.Errorf("%s doesn't say that it can answer %d", op.name, e.Status)
	}
	faults := answer.check(e)
	if e.Status >= 200 && e.Status < 300 {
		faults = append(faults, op.checkRequest(e, values)...)
	}
	return errors.Join(faults...)
}

// find returns the operation and the values of its path's parameters.
func (c *Contract) find(method, path string) (*operation, map[string]string) {
	segments := strings.Split(path, "/")
	for _, op := range c.operations {
		if op.method == method && len(op.segments) == len(segments) {
			if values, ok := op.match(segments); ok {
				return op, values
			}
		}
	}
	return nil, nil
}

func (op *operation) match(segments []string) (map[string]string, bool) {
	values := map[string]string{}
	for i, segment := range op.segments {
		name, parameter := strings.CutPrefix(segment, "{")
		switch {
		case parameter && segments[i] != "":
			value, err := url.PathUnescape(segments[i])
			if err != nil {
				return nil, false
			}
			values[strings.TrimSuffix(name, "}")] = value
		case segment != segments[i]:
			return nil, false
		}
	}
	return values, true
}

// checkNowhere checks an answer where the description has no operation: not found, or another method.
func (c *Contract) checkNowhere(e Exchange) error {
	if e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
		return fmt.Errorf("there is no operation, and the answer is %d", e.Status)
	}
	answer := response{
		headers: []parameter{{name: "X-Request-Id"}},
		content: map[string]*jsonschema.Schema{"application/problem+json": c.problem},
	}
	if e.Status == http.StatusMethodNotAllowed {
		answer.headers = append(answer.headers, parameter{name: "Allow", required: true})
	}
	return errors.Join(answer.check(e)...)
}

// object is a JSON object; nil for anything else.
func object(value any) map[string]any {
	o, _ := value.(map[string]any)
	return o
}

// text is a JSON string; "" for anything else.
func text(value any) string {
	s, _ := value.(string)
	return s
}

// parse reads a parameter's text as its type says; what isn't of that type stays text, which no such schema allows.
func parse(typ, value string) any {
	if typ == "string" || typ == "" {
		return value
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
	if _, isText := parsed.(string); err != nil || isText {
		return value
	}
	return parsed
}

// isJSON reports whether a media type is JSON by itself or by its suffix.
func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// decode reads a JSON body.
func decode(data []byte) (any, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil || json.Valid(data) {
		return value, err
	}
	return nil, errors.New("there is something behind the JSON")
}
