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
	Type      string       `json:"type" example:"about:blank"`
	Title     string       `json:"title" example:"Unprocessable Content"`
	Status    int          `json:"status" example:"422"`
	Detail    string       `json:"detail" example:"1 fault in the request: see errors."`
	Instance  string       `json:"instance" example:"/v1/orders"`
	RequestID string       `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"`
	Errors    []FieldError `json:"errors,omitempty"` // on 422: every fault at once
}

// QuotaProblem is the Problem of a 429. It also names the violated policies and
// the time of a retry.
type QuotaProblem struct {
	Problem
	ViolatedPolicies []string `json:"violated-policies" example:"burst"` // the draft's spelling
	RetryAfter       *float64 `json:"retry_after" example:"0.4"`         // seconds; null if a retry can never succeed
}

// FieldError is one fault of the input.
type FieldError struct {
	Location string `json:"location" enums:"body,query,path,header" example:"body"`
	Pointer  string `json:"pointer" example:"/items/0/quantity"` // JSON pointer in a body; the parameter's name elsewhere
	Code     string `json:"code" example:"min"`                  // stable, for programs
	Message  string `json:"message" example:"must be at least 1"`
}

// pointer returns a JSON pointer for a body, and the parameter's name otherwise.
func pointer(source models.Source, path []string) string {
	if source != models.SourceBody {
		return strings.Join(path, "/")
	}
	var b strings.Builder
	for _, name := range path {
		b.WriteByte('/')
		_, _ = pointerEscapes.WriteString(&b, name) // a strings.Builder never fails
	}
	return b.String()
}

// pointerEscapes escapes names in JSON pointers (RFC 6901, section 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// fieldErrors encodes faults, with API keys in field names masked.
func fieldErrors(faults []models.Fault) []FieldError {
	encoded := make([]FieldError, len(faults))
	for i, f := range faults {
		source := cmp.Or(f.Source, models.SourceBody)
		encoded[i] = FieldError{string(source), maskKeys(pointer(source, f.Path)), f.Code, maskKeys(f.Message)}
	}
	return encoded
}
