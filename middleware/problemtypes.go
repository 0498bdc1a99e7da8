package middleware

import (
	"cmp"
	"strings"

	"ratelimiter/models"
)

// ProblemMediaType is the media type of every error response (RFC 9457).
const ProblemMediaType = "application/problem+json"

// Problem types. Problems without a type of their own are "about:blank", which
// has the meaning of the status code.
const (
	ProblemBlank           = "about:blank"
	ProblemQuotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	ProblemReducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// Problem is the body of every error response (RFC 9457).
type Problem struct {
	Type      string       `json:"type" format:"uri-reference" example:"about:blank"`          // what kind of problem this is; about:blank says no more than the status
	Title     string       `json:"title" example:"Not Found"`                                  // the kind in words, the same every time
	Status    int          `json:"status" minimum:"400" maximum:"599" example:"404"`           // the HTTP status
	Detail    string       `json:"detail" example:"There is nothing here, or it isn't yours."` // what happened this time, for people
	Instance  string       `json:"instance" format:"uri-reference" example:"/v1/products"`     // the path that was asked for
	RequestID string       `json:"request_id" example:"req_4CLHASCY3OD6DWBAZZHK43Y66R"`        // the same as in X-Request-Id
	Errors    []FieldError `json:"errors,omitempty" minItems:"1"`                              // every fault of the input, up to 100
}

// QuotaProblem is the Problem of a 429. It also names the violated policies and
// the time of a retry.
type QuotaProblem struct {
	Problem
	ViolatedPolicies []string `json:"violated-policies" example:"burst"`      // the policies that refused
	RetryAfter       *float64 `json:"retry_after" minimum:"0" example:"1.25"` // seconds until this request would pass, not jittered; null when it never will
}

// FieldError is one fault of the input.
type FieldError struct {
	Location string `json:"location" enums:"body,query,path,header" example:"body"` // the part of the request
	Pointer  string `json:"pointer" example:"/items/0/quantity"`                    // where in that part: a JSON pointer (RFC 6901) in a body, the parameter's name elsewhere
	Code     string `json:"code" example:"min"`                                     // a stable word for programs
	Message  string `json:"message" example:"must be at least 1"`                   // a sentence for people
}

// pointerEscapes escapes names in JSON pointers (RFC 6901, section 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// fieldErrors encodes faults, with API keys in field names masked.
func fieldErrors(faults []models.Fault) []FieldError {
	encoded := make([]FieldError, len(faults))
	for i, f := range faults {
		source := cmp.Or(f.Source, models.SourceBody)
		pointer := strings.Join(f.Path, "/")
		if source == models.SourceBody {
			pointer = ""
			for _, name := range f.Path {
				pointer += "/" + pointerEscapes.Replace(name)
			}
		}
		encoded[i] = FieldError{string(source), maskKeys(pointer), f.Code, maskKeys(f.Message)}
	}
	return encoded
}
