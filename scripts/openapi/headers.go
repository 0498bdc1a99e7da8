package main

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Header fields that go together.
var (
	limitFields = []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
	keptFields  = []string{"ETag", "Cache-Control"} // of an answer that its caller may keep
)

// optionalHeaders are those of successes that aren't always there; all others that an operation declares are.
var optionalHeaders = append([]string{"Link", "Idempotency-Replayed", "Retry-After"}, limitFields...)

// addSuccessHeaders adds what a success has without its handler saying so, and describes alike what handlers do say.
func addSuccessHeaders(op *openapi3.Operation, code string, response *openapi3.Response, shared *openapi3.Components) {
	for name, header := range response.Headers {
		specify(name, header, shared)
		header.Value.Required = !slices.Contains(optionalHeaders, name)
	}
	addHeaders(response, shared, "X-Request-Id")
	if secured(op) {
		addHeaders(response, shared, limitFields...)
	}
	withBody := len(response.Content) > 0
	switch {
	case op.Responses.Value("304") != nil && (withBody || code == "304"): // of a change, the field has another meaning
		addHeaders(response, shared, keptFields...)
	case takesHeader(op, "If-Match") && withBody:
		addHeaders(response, shared, "ETag")
	}
	if isList(op) && (withBody || code == "304") {
		addHeaders(response, shared, "Link")
	}
}

// specify gives a header field that a handler declares the form and the example of the shared one of that name; what
// the handler says about it stays.
func specify(name string, header *openapi3.HeaderRef, shared *openapi3.Components) {
	common := shared.Headers[name]
	if common == nil || header.Ref != "" || header.Value == nil {
		return
	}
	header.Value.Schema, header.Value.Example = common.Value.Schema, common.Value.Example
}

// addLimitFields adds the older limit fields wherever shared.json has the draft's.
func addLimitFields(shared *openapi3.Components) {
	for _, ref := range shared.Responses {
		if ref.Value.Headers[limitFields[0]] != nil {
			addHeaders(ref.Value, shared, limitFields...)
		}
	}
}

// addHeaders references shared headers; one that the handler declares itself stays.
func addHeaders(response *openapi3.Response, shared *openapi3.Components, names ...string) {
	if response.Headers == nil {
		response.Headers = openapi3.Headers{}
	}
	for _, name := range names {
		if response.Headers[name] == nil {
			response.Headers[name] = &openapi3.HeaderRef{Ref: "#/components/headers/" + name, Value: shared.Headers[name].Value}
		}
	}
}

// takesHeader reports whether an operation reads a header field.
func takesHeader(op *openapi3.Operation, name string) bool {
	return slices.ContainsFunc(op.Parameters, func(p *openapi3.ParameterRef) bool {
		return p.Value != nil && p.Value.In == openapi3.ParameterInHeader && strings.EqualFold(p.Value.Name, name)
	})
}

// isList reports whether an operation answers with a page of a list.
func isList(op *openapi3.Operation) bool {
	schema := answerSchema(op)
	return schema != nil && schema.Properties["next_cursor"] != nil
}
