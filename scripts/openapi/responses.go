package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"

	"ratelimiter/middleware"
	"ratelimiter/models"
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
		response := o.success(status, annotated)
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
func (o *operation) success(status int, annotated *openapi2.Response) *openapi3.Response {
	response := &openapi3.Response{Description: &annotated.Description, Headers: o.headersOf(status, annotated)}
	switch output := reflect.TypeOf(o.types.Output); {
	case annotated.Schema == nil: // no body
	case output == nil:
		file := openapi3.NewStringSchema().WithFormat("binary")
		response.Content = openapi3.NewContentWithSchema(file, o.annotated.Produces)
	default:
		response.Content = openapi3.Content{o.annotated.Produces[0]: o.jsonBody(annotated.Schema, output, false)}
		for _, mediaType := range o.annotated.Produces[1:] {
			response.Content[mediaType] = eventStream()
		}
	}
	return response
}

// eventStream returns the description of a stream of Server-Sent Events. OpenAPI 3.1
// can't describe its messages; the example has one of each kind.
func eventStream() *openapi3.MediaType {
	event := models.Event{Cursor: "MS4x", OrderID: "ord_5HqT1bZr8w", Seq: 1, Type: models.EventOrderPlaced, At: time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC)}
	data, err := json.Marshal(event)
	if err != nil { // a struct of strings and numbers
		panic(err)
	}
	schema := openapi3.NewStringSchema()
	schema.Description = "Messages of Server-Sent Events: id is a cursor, event a type of events, data the JSON of an Event on one line. Lines that begin with a colon are comments."
	example := fmt.Sprintf("retry: 3141\n\nid: %s\nevent: %s\ndata: %s\n\n:\n\n", event.Cursor, event.Type, data)
	return &openapi3.MediaType{Schema: schema.NewRef(), Example: example}
}

// headersOf returns the headers of a response: the annotated ones, and references
// to those of shared.json.
func (o *operation) headersOf(status int, annotated *openapi2.Response) openapi3.Headers {
	success := status < http.StatusBadRequest
	headers := openapi3.Headers{}
	for name, header := range annotated.Headers {
		repeated := name == "Idempotency-Replayed" // which only repeated responses have
		headers[name] = o.header(name, header.Description, success && !repeated)
	}
	if status == http.StatusServiceUnavailable {
		headers["Retry-After"] = o.header("Retry-After", "Seconds after which to retry.", true)
	}
	for _, shared := range []struct {
		sent  bool
		names []string
	}{
		{true, []string{"X-Request-Id"}},
		{status != http.StatusUnauthorized && !o.route.Public, limitHeaders},
		{status == http.StatusUnauthorized, []string{"WWW-Authenticate"}},
		{status == http.StatusTooManyRequests, []string{"Retry-After"}}, // unless waiting doesn't help
		{success && o.annotated.Responses.Value("304") != nil, []string{"ETag", "Cache-Control"}},
		{success && strings.HasPrefix(fmt.Sprintf("%T", o.types.Output), "handlers.List["), []string{"Link"}},
	} {
		for _, name := range shared.names {
			if shared.sent && headers[name] == nil {
				header := o.headers[name]
				o.doc.Components.Headers[name] = header
				headers[name] = &openapi3.HeaderRef{Ref: "#/components/headers/" + name, Value: header.Value}
			}
		}
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

// problem is an error response that operations share.
type problem struct {
	name        string // of the component
	schema      string
	code        middleware.ProblemCode // of the example
	description string
	detail      string // of the example
}

// problems are the shared error responses, by status.
var problems = map[int]problem{
	400: {"BadRequest", "Problem", "malformed_request", "The request is malformed: the body is not JSON, or the query string is not properly encoded.", "The JSON ends too early."},
	401: {"Unauthorized", "Problem", "key_invalid", "There is no API key, or it is not valid: unknown, revoked, expired or mistyped.", "The API key is not valid."},
	403: {"Forbidden", "Problem", "scope_missing", "The API key lacks the scope of this operation, or may not be used from this address.", "This requires the scope products:write, which the API key does not hold."},
	404: {"NotFound", "Problem", "not_found", "The resource does not exist, or belongs to another owner.", "The resource does not exist, or belongs to another owner."},
	406: {"NotAcceptable", "Problem", "not_acceptable", "The Accept header excludes the media type of the response.", "The response is application/json, which the Accept header excludes."},
	409: {"Conflict", "Problem", "conflict", "The current state of the resource does not allow this.", "The current state of the resource does not allow this."},
	410: {"Gone", "CursorProblem", "cursor_expired", "Events after the cursor are not available any more: they were deleted, or the database was restored from a backup. The present state and the cursor to continue from are in the body.", "Events after this cursor are not available any more. GET /v1/orders has the present state, and next_cursor continues from there."},
	412: {"PreconditionFailed", "Problem", "version_mismatch", "The resource has another version than the one in If-Match.", "The given version is stale: the current one is 4. Read it again before changing it."},
	413: {"ContentTooLarge", "Problem", "body_too_large", "The body is larger than 64 KiB.", "The body is larger than 64 KiB."},
	415: {"UnsupportedMediaType", "Problem", "unsupported_media_type", "The media type of the body is not supported, or the body is compressed.", "The body must be application/json, in UTF-8."},
	422: {"UnprocessableContent", "ValidationProblem", "invalid_input", "The input is well-formed but invalid. All faults are listed.", "1 fault in the request: see errors."},
	426: {"UpgradeRequired", "Problem", "upgrade_required", "This is a WebSocket, and the request is no handshake of one.", "This is a WebSocket: connect with a WebSocket client. The same events can be polled without /ws."},
	429: {"TooManyRequests", "QuotaProblem", "rate_limited", "A policy of the key's quota refused the request; nothing was charged. Also sent, without limit headers, to an address with too many failed authentications.", `Rate limit exceeded: policy "burst" has 2 of 20 units left; this request costs 5. Retry in 1 s.`},
	500: {"InternalServerError", "Problem", "internal_error", "An internal error occurred. The request id identifies it in the server's log.", "An internal error occurred. The request id identifies it in the server's log."},
	503: {"ServiceUnavailable", "Problem", "unavailable", "A required service is unavailable, or the server is at capacity. Retry after the time in Retry-After.", "A required service is unavailable. Retry later."},
}

// problemSchemas adds the schemas of errors. Only a 422 has the property errors,
// so it gets a schema of its own.
func (d *describer) problemSchemas() {
	base := d.schemaOf(reflect.TypeFor[middleware.Problem](), false).Value
	quota := d.schemaOf(reflect.TypeFor[middleware.QuotaProblem](), false).Value
	expired := d.schemaOf(reflect.TypeFor[middleware.CursorProblem](), false).Value
	invalid := *base
	invalid.Description = "The body of a 422. It lists all faults of the input."
	invalid.Required = append(slices.Clone(base.Required), "errors")
	d.components["ValidationProblem"] = invalid.NewRef()
	for _, schema := range []*openapi3.Schema{base, quota, expired} {
		others := slices.Clone(propertiesOf(schema))
		setProperties(schema, slices.DeleteFunc(others, func(m member) bool { return m.name == "errors" }))
	}
}

// problem returns the error response of a status: a reference to the shared one,
// or a response with the description and the headers of the annotation.
func (o *operation) problem(status int, annotated *openapi2.Response) *openapi3.ResponseRef {
	shared, ok := problems[status]
	if !ok {
		o.fault("no shared problem has the status %d", status)
		return &openapi3.ResponseRef{Value: openapi3.NewResponse()}
	}
	detail, description, path := shared.detail, shared.description, "/v1/products"
	own := annotated.Description != "" && annotated.Description != http.StatusText(status) // which swag writes
	if own {
		detail, description = strings.TrimSuffix(annotated.Description, ".")+".", annotated.Description
	}
	inline := own || len(annotated.Headers) > 0 || o.route.Public
	if inline {
		path = o.examplePath()
	}
	response := &openapi3.Response{
		Description: &description, Headers: o.headersOf(status, annotated),
		Content: openapi3.Content{middleware.ProblemMediaType: {
			Schema: openapi3.NewSchemaRef(schemaPrefix+shared.schema, o.components[shared.schema].Value), Example: problemExample(status, detail, path),
		}},
	}
	if inline {
		return &openapi3.ResponseRef{Value: response}
	}
	o.doc.Components.Responses[shared.name] = &openapi3.ResponseRef{Value: response}
	return &openapi3.ResponseRef{Ref: "#/components/responses/" + shared.name, Value: response}
}

// examplePath returns the path of the operation with the examples of its
// parameters.
func (o *operation) examplePath() string {
	path := o.path
	for _, param := range o.op.Parameters {
		path = strings.ReplaceAll(path, "{"+param.Value.Name+"}", fmt.Sprint(param.Value.Example))
	}
	return path
}

func problemExample(status int, detail, path string) any {
	p := middleware.Problem{
		Type: middleware.ProblemBlank, Title: http.StatusText(status), Status: status, Code: problems[status].code, Detail: detail, Instance: path,
		RequestID: "req_4CLHASCY3OD6DWBAZZHK43Y66R",
	}
	switch status {
	case http.StatusUnprocessableEntity:
		p.Instance = "/v1/orders"
		p.Errors = []middleware.FieldError{{Location: "body", Pointer: "/items/0/quantity", Code: "min", Message: "must be at least 1"}}
	case http.StatusGone:
		p.Instance = "/v1/events"
		return middleware.CursorProblem{Problem: p, NextCursor: "MS4x"}
	case http.StatusTooManyRequests:
		p.Type = middleware.ProblemQuotaExceeded
		return middleware.QuotaProblem{Problem: p, Cost: 5, ViolatedPolicies: []string{"burst"}, RetryAfter: new(0.25)}
	}
	return p
}
