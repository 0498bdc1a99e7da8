package main

import (
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// sharedJSON is what every operation shares: the problem schema, the error responses by name, the response headers and
// the ways to send a key.
//
//go:embed shared.json
var sharedJSON []byte

// problemType is the media type of every error (RFC 9457).
const problemType = "application/problem+json"

// errorResponses names the shared response of each status.
var errorResponses = map[int]string{
	http.StatusBadRequest:            "BadRequest",
	http.StatusUnauthorized:          "Unauthorized",
	http.StatusForbidden:             "Forbidden",
	http.StatusNotFound:              "NotFound",
	http.StatusMethodNotAllowed:      "MethodNotAllowed",
	http.StatusNotAcceptable:         "NotAcceptable",
	http.StatusConflict:              "Conflict",
	http.StatusGone:                  "Gone",
	http.StatusPreconditionFailed:    "PreconditionFailed",
	http.StatusRequestEntityTooLarge: "ContentTooLarge",
	http.StatusUnsupportedMediaType:  "UnsupportedMediaType",
	http.StatusUnprocessableEntity:   "UnprocessableContent",
	http.StatusTooManyRequests:       "TooManyRequests",
	http.StatusInternalServerError:   "InternalServerError",
	http.StatusServiceUnavailable:    "ServiceUnavailable",
}

// Errors that an operation may give without saying so: a query string can be encoded wrongly wherever a key is needed, and
// whoever sends a key and accepts only what the operation doesn't give is told so.
var (
	securedErrors = []int{400, 401, 403, 429, 500, 503}
	bodyErrors    = []int{400, 413, 415, 422}
	answerErrors  = []int{406}
)

// loadShared returns the components of shared.json.
func loadShared() (*openapi3.Components, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(sharedJSON)
	if err != nil {
		return nil, fmt.Errorf("shared.json: %w", err)
	}
	addLimitFields(doc.Components)
	return doc.Components, nil
}

// complete adds the shared components and makes every operation use them. A schema or scheme of the document that has a
// shared one's name gives way to it.
func complete(doc *openapi3.T, shared *openapi3.Components) {
	doc.Servers = openapi3.Servers{{URL: "/"}}
	if doc.Info.Contact != nil && doc.Info.Contact.Email == "" && doc.Info.Contact.Name == "" && doc.Info.Contact.URL == "" {
		doc.Info.Contact = nil
	}
	components := doc.Components
	maps.Copy(components.Schemas, shared.Schemas)
	components.Responses = shared.Responses
	components.Headers = shared.Headers
	components.SecuritySchemes = shared.SecuritySchemes

	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			completeOperation(op, shared)
		}
		if item.Patch != nil {
			addMergePatch(item.Patch)
		}
	}
}

// addMergePatch says that a change is also taken under the media type of RFC 7396.
func addMergePatch(op *openapi3.Operation) {
	if op.RequestBody == nil || op.RequestBody.Value == nil {
		return
	}
	if plain := op.RequestBody.Value.Content["application/json"]; plain != nil {
		op.RequestBody.Value.Content["application/merge-patch+json"] = &openapi3.MediaType{Schema: plain.Schema}
	}
}

func completeOperation(op *openapi3.Operation, shared *openapi3.Components) {
	secured := secured(op)
	op.Security = openapi3.NewSecurityRequirements()
	if secured { // either suffices
		op.Security.
			With(openapi3.NewSecurityRequirement().Authenticate("BearerAuth")).
			With(openapi3.NewSecurityRequirement().Authenticate("ApiKeyAuth"))
		declareErrors(op, securedErrors)
	}
	if op.RequestBody != nil && op.RequestBody.Value != nil {
		delete(op.RequestBody.Value.Extensions, "x-originalParamName") // a trace of the conversion
		declareErrors(op, bodyErrors)
	}
	if secured && answersWithBody(op) { // what says how the server is answers everybody
		declareErrors(op, answerErrors)
	}

	for code, ref := range op.Responses.Map() {
		status, err := strconv.Atoi(code)
		if err != nil || ref.Value == nil {
			continue
		}
		if status >= http.StatusBadRequest {
			op.Responses.Set(code, errorResponse(status, ref, secured, shared))
			continue
		}
		addSuccessHeaders(op, code, ref.Value, shared)
	}
}

// answersWithBody reports whether a success of the operation has a body.
func answersWithBody(op *openapi3.Operation) bool {
	for code, ref := range op.Responses.Map() {
		if strings.HasPrefix(code, "2") && ref.Value != nil && len(ref.Value.Content) > 0 {
			return true
		}
	}
	return false
}

// declareErrors adds the statuses that the operation lacks, to be filled in with the shared responses.
func declareErrors(op *openapi3.Operation, statuses []int) {
	for _, status := range statuses {
		if op.Responses.Status(status) == nil {
			op.AddResponse(status, openapi3.NewResponse().WithDescription(""))
		}
	}
}

// errorResponse returns a reference to the status's shared response or, where the handler says something of its own
// about the error, the shared response with that description and the handler's headers. Who needs no key has no limits.
func errorResponse(status int, declared *openapi3.ResponseRef, secured bool, shared *openapi3.Components) *openapi3.ResponseRef {
	name, known := errorResponses[status]
	if !known {
		name = errorResponses[http.StatusInternalServerError]
	}
	common := shared.Responses[name].Value
	own := declared.Value.Description
	plain := known && (own == nil || *own == "" || *own == http.StatusText(status)) && len(declared.Value.Headers) == 0
	if plain && (secured || common.Headers[limitFields[0]] == nil) {
		return &openapi3.ResponseRef{Ref: "#/components/responses/" + name, Value: common}
	}

	response := *common
	if own != nil && *own != "" && *own != http.StatusText(status) {
		response.Description = own
	}
	response.Headers = maps.Clone(response.Headers)
	maps.DeleteFunc(response.Headers, func(name string, _ *openapi3.HeaderRef) bool {
		return !secured && slices.Contains(limitFields, name)
	})
	for name, header := range declared.Value.Headers {
		specify(name, header, shared)
		response.Headers[name] = header
	}
	response.Content = openapi3.Content{problemType: {
		Schema: common.Content[problemType].Schema, Example: common.Content[problemType].Example,
	}}
	return &openapi3.ResponseRef{Value: &response}
}
