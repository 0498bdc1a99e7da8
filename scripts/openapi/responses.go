package main

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"
)

// limitHeaders are sent with every response to a valid key.
var limitHeaders = []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}

// Errors that operations respond with although no annotation says so.
var (
	keyErrors      = []int{400, 401, 403, 429, 500, 503} // of operations that need a key
	bodyErrors     = []int{400, 413, 415, 422}           // of operations with a request body
	responseErrors = []int{406}                          // of operations that need a key and respond with a body
)

// responses adds the annotated responses and the errors that follow from the
// kind of the operation.
func (o *operation) responses() {
	var implied []int
	if !o.route.Public {
		implied = append(implied, keyErrors...)
	}
	if o.op.RequestBody != nil {
		implied = append(implied, bodyErrors...)
	}
	for code, annotated := range o.annotated.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err != nil || status >= http.StatusBadRequest {
			o.op.Responses.Set(code, o.problem(status, annotated))
			continue
		}
		response := o.success(annotated)
		o.op.Responses.Set(code, &openapi3.ResponseRef{Value: response})
		if len(response.Content) > 0 && !o.route.Public {
			implied = append(implied, responseErrors...)
		}
	}
	for _, status := range implied {
		if o.op.Responses.Status(status) == nil {
			o.op.Responses.Set(strconv.Itoa(status), o.problem(status, &openapi2.Response{}))
		}
	}
}

// success returns an annotated response below 400.
func (o *operation) success(annotated *openapi2.Response) *openapi3.Response {
	response := &openapi3.Response{Description: &annotated.Description, Headers: o.headersOf(annotated, true)}
	output := reflect.TypeOf(o.types.Output)
	switch {
	case annotated.Schema == nil: // no body
	case output == nil:
		file := openapi3.NewStringSchema().WithFormat("binary")
		response.Content = openapi3.NewContentWithSchema(file, o.annotated.Produces)
	default:
		response.Content = openapi3.Content{o.annotated.Produces[0]: o.jsonBody(annotated.Schema, output, false)}
	}
	o.addHeaders(response, "X-Request-Id")
	if !o.route.Public {
		o.addHeaders(response, limitHeaders...)
	}
	if o.annotated.Responses.Value("304") != nil {
		o.addHeaders(response, "ETag", "Cache-Control")
	}
	if output != nil && strings.HasPrefix(output.Name(), "List[") {
		o.addHeaders(response, "Link")
	}
	return response
}

// headersOf returns the annotated headers of a response.
func (o *operation) headersOf(annotated *openapi2.Response, required bool) openapi3.Headers {
	headers := openapi3.Headers{}
	for name, header := range annotated.Headers {
		repeated := name == "Idempotency-Replayed" // which only repeated responses have
		headers[name] = o.header(name, header.Description, required && !repeated)
	}
	return headers
}

// header returns a header of shared.json with another description.
func (o *operation) header(name, description string, required bool) *openapi3.HeaderRef {
	header := openapi3.Header{}
	if shared := o.headers[name]; shared != nil {
		header = *shared.Value
	} else {
		o.fault("shared.json has no header %s", name)
	}
	header.Description, header.Required = description, required
	return &openapi3.HeaderRef{Value: &header}
}

// addHeaders adds references to shared headers, except those that the response
// has already.
func (d *describer) addHeaders(response *openapi3.Response, names ...string) {
	for _, name := range names {
		if response.Headers[name] == nil {
			shared := d.headers[name]
			d.doc.Components.Headers[name] = shared
			response.Headers[name] = &openapi3.HeaderRef{Ref: "#/components/headers/" + name, Value: shared.Value}
		}
	}
}
