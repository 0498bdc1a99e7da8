// Package contract checks HTTP exchanges against an OpenAPI 3.1 description: the server must accept only described requests
// and send only described responses. Schemas are JSON Schema 2020-12. Objects are closed: an undescribed property is an
// error unless additionalProperties is set.
//
// It supports the part of OpenAPI that this project uses.
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

// Exchange is a request and its response.
type Exchange struct {
	Method        string
	URL           *url.URL
	RequestHeader http.Header
	RequestBody   []byte
	Status        int
	Header        http.Header
	Body          []byte
}

// Contract is a loaded description. It is safe for concurrent use.
type Contract struct {
	operations []*operation
	problem    *jsonschema.Schema // of responses to unknown operations
}

// operation is one method of one path.
type operation struct {
	name      string   // its operationId
	method    string   // in upper case
	path      string   // /v1/products/{id}
	segments  []string // of the path, split at slashes
	params    []parameter
	body      *body // nil: none
	responses map[int]response
}

// parameter is a path or query parameter or a header.
type parameter struct {
	name, in string
	required bool
	typ      string // of the value, or of the items of a list
	list     bool
	schema   *jsonschema.Schema
}

type body struct {
	required bool
	content  map[string]*jsonschema.Schema // by media type; a nil schema allows anything
}

type response struct {
	headers []parameter
	content map[string]*jsonschema.Schema
}

// Load reads a description. The error lists what is unsupported or invalid.
func Load(document []byte) (*Contract, error) {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	root, ok := decoded.(map[string]any)
	if !ok {
		return nil, errors.New("the description is not a JSON object")
	}
	loading := newLoader(root)
	c := &Contract{}
	for path, item := range object(root["paths"]) {
		for method, op := range object(item) {
			c.operations = append(c.operations, loading.operation(method, path, object(op)))
		}
	}
	c.problem = loading.schema(map[string]any{"$ref": "#/components/schemas/Problem"})
	// Literal paths take precedence over paths with parameters.
	slices.SortFunc(c.operations, func(a, b *operation) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return c, loading.compile()
}

// sortKey orders literal segments before parameters.
func (op *operation) sortKey() string {
	return strings.ReplaceAll(op.path, "{", "\xff") + " " + op.method
}

// Statuses returns the described statuses by operationId, in ascending order.
func (c *Contract) Statuses() map[string][]int {
	statuses := map[string][]int{}
	for _, op := range c.operations {
		statuses[op.name] = slices.Sorted(maps.Keys(op.responses))
	}
	return statuses
}

// Route returns the method and the path template of an operation, or empty strings if it is unknown.
func (c *Contract) Route(operationID string) (method, path string) {
	for _, op := range c.operations {
		if op.name == operationID {
			return op.method, op.path
		}
	}
	return "", ""
}

// Check returns the differences between an exchange and the description, or nil. Responses to HEAD are checked like those
// to GET, without the body.
func (c *Contract) Check(e Exchange) error {
	method := e.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, values := c.find(method, e.URL.EscapedPath())
	if op == nil {
		return c.checkUnknown(e)
	}
	described, ok := op.responses[e.Status]
	if !ok {
		return fmt.Errorf("%s doesn't describe status %d", op.name, e.Status)
	}
	faults := described.check(e)
	if e.Status >= 200 && e.Status < 300 {
		faults = append(faults, op.checkRequest(e, values)...)
	}
	return errors.Join(faults...)
}

// find returns an operation and the values of its path parameters.
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

// checkUnknown checks the response to an unknown operation: 404, or 405 with Allow.
func (c *Contract) checkUnknown(e Exchange) error {
	if e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
		return fmt.Errorf("status %d for an unknown operation; want 404 or 405", e.Status)
	}
	described := response{
		headers: []parameter{{name: "X-Request-Id"}},
		content: map[string]*jsonschema.Schema{"application/problem+json": c.problem},
	}
	if e.Status == http.StatusMethodNotAllowed {
		described.headers = append(described.headers, parameter{name: "Allow", required: true})
	}
	return errors.Join(described.check(e)...)
}

// object returns value if it is a JSON object, or nil.
func object(value any) map[string]any {
	o, _ := value.(map[string]any)
	return o
}

// text returns value if it is a JSON string, or "".
func text(value any) string {
	s, _ := value.(string)
	return s
}

// parse converts the text of a parameter to its type. Invalid text stays a string, which the schema then rejects.
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

// isJSON reports whether a media type is JSON or has the suffix +json.
func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// decode decodes a JSON body.
func decode(data []byte) (any, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil || json.Valid(data) {
		return value, err
	}
	return nil, errors.New("data after the JSON value")
}
