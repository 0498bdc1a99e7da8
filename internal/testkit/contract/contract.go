// Package contract checks HTTP exchanges against an OpenAPI 3.1 description: the server must accept only described requests
// and send only described responses. Schemas are JSON Schema 2020-12. Objects are closed: an undescribed property is an
// error unless additionalProperties is set.
//
// It supports the part of OpenAPI that this project uses.
package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
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
	doc      *openapi3.T
	paths    []string                    // literal ones before those with parameters
	pointers map[*openapi3.Schema]string // JSON pointers of the schemas

	mu       sync.Mutex // guards the fields below
	compiler *jsonschema.Compiler
}

// resource is the name of the description for the compiler.
const resource = "openapi:description"

// problem is the schema of responses to unknown operations.
var problem = openapi3.NewSchemaRef("#/components/schemas/Problem", nil)

// Load reads a description. The schema of a problem must be in it.
func Load(document []byte) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, err
	}
	c := &Contract{doc: doc, paths: doc.Paths.InMatchingOrder(), pointers: map[*openapi3.Schema]string{}, compiler: jsonschema.NewCompiler()}
	err = doc.WalkSchemas(func(pointer string, schema *openapi3.SchemaRef) error {
		c.pointers[schema.Value] = pointer
		if more := &schema.Value.AdditionalProperties; more.Has == nil && more.Schema == nil && schema.Value.Properties != nil {
			more.Has = new(false)
		}
		if values, ok := schema.Value.Extensions["x-extensible-enum"].([]any); ok { // this server sends no other
			schema.Value.Enum = values
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	closed, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(closed))
	if err != nil {
		return nil, err
	}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(resource, root); err != nil {
		return nil, err
	}
	_, err = c.compiled(problem)
	return c, err
}

// compiled returns a schema of the description for validation. The compiler keeps what it has compiled.
func (c *Contract) compiled(schema *openapi3.SchemaRef) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.compiler.Compile(resource + cmp.Or(schema.Ref, "#"+c.pointers[schema.Value]))
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
	described := op.Responses.Status(e.Status)
	if described == nil {
		return fmt.Errorf("%s doesn't describe status %d", op.OperationID, e.Status)
	}
	faults := c.checkResponse(described.Value, e)
	if e.Status >= 200 && e.Status < 300 {
		faults = append(faults, c.checkRequest(op, e, values)...)
	}
	return errors.Join(faults...)
}

// find returns an operation, which is nil if the path's template has none for the
// method, and the values of its path parameters.
func (c *Contract) find(method, path string) (*openapi3.Operation, map[string]string) {
	for _, template := range c.paths {
		if values, ok := match(strings.Split(template, "/"), strings.Split(path, "/")); ok {
			return c.doc.Paths.Value(template).GetOperation(method), values
		}
	}
	return nil, nil
}

// match matches the segments of a path with those of a template, and returns the values of the parameters.
func match(template, path []string) (map[string]string, bool) {
	if len(template) != len(path) {
		return nil, false
	}
	values := map[string]string{}
	for i, segment := range template {
		name, parameter := strings.CutPrefix(segment, "{")
		switch {
		case parameter && path[i] != "":
			value, err := url.PathUnescape(path[i])
			if err != nil {
				return nil, false
			}
			values[strings.TrimSuffix(name, "}")] = value
		case segment != path[i]:
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
	described := &openapi3.Response{
		Headers: openapi3.Headers{"X-Request-Id": {Value: &openapi3.Header{}}},
		Content: openapi3.Content{"application/problem+json": {Schema: problem}},
	}
	if e.Status == http.StatusMethodNotAllowed {
		described.Headers["Allow"] = &openapi3.HeaderRef{Value: &openapi3.Header{Parameter: openapi3.Parameter{Required: true}}}
	}
	return errors.Join(c.checkResponse(described, e)...)
}

// transport lists response headers that a description may omit because they concern the transport, browsers or caches
// instead of the operation. The value is the only one allowed, or "" for any.
var transport = map[string]string{
	"Connection": "", "Content-Encoding": "", "Content-Length": "", "Content-Type": "", "Date": "", "Vary": "",
	"Content-Security-Policy": "", "X-Content-Type-Options": "", "X-Accel-Buffering": "no",
	"Cache-Control": "no-store", // other values must be described
}

// crossOrigin is the prefix of the CORS headers.
const crossOrigin = "Access-Control-"

// checkHeaders returns the missing, invalid and undescribed headers of a response.
func (c *Contract) checkHeaders(described openapi3.Headers, header http.Header) []error {
	var faults []error
	known := map[string]bool{}
	for name, param := range described {
		known[http.CanonicalHeaderKey(name)] = true
		if err := c.checkParameter(name, &param.Value.Parameter, header.Values(name)); err != nil {
			faults = append(faults, fmt.Errorf("response header %w", err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		only, omitted := transport[name]
		omitted = strings.HasPrefix(name, crossOrigin) || omitted && (only == "" || slices.Equal(header[name], []string{only}))
		if !known[name] && !omitted {
			faults = append(faults, fmt.Errorf("response header %s (%q) isn't described", name, header[name]))
		}
	}
	return faults
}
