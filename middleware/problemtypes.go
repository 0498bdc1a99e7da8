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
	Type      string       `json:"type" format:"uri-reference" example:"about:blank"`                          // kind of the problem; about:blank: nothing beyond the status
	Title     string       `json:"title" example:"Not Found"`                                                  // short description of the kind
	Status    int          `json:"status" minimum:"400" maximum:"599" example:"404"`                           // HTTP status
	Code      ProblemCode  `json:"code" swaggertype:"string" open:"true" example:"invalid_input"`              // stable, for programs
	Detail    string       `json:"detail" example:"The resource does not exist, or belongs to another owner."` // explanation of this occurrence
	Instance  string       `json:"instance" format:"uri-reference" example:"/v1/products"`                     // path of the request
	RequestID string       `json:"request_id" example:"req_4CLHASCY3OD6DWBAZZHK43Y66R"`                        // the X-Request-Id
	Errors    []FieldError `json:"errors,omitempty" minItems:"1"`                                              // all faults of the input, at most 100
}

// QuotaProblem is the Problem of a 429. It also names the violated policies and
// the time of a retry.
type QuotaProblem struct {
	Problem
	Cost             int64    `json:"cost" minimum:"0" example:"5"`           // units that the request would have cost
	ViolatedPolicies []string `json:"violated-policies" example:"burst"`      // policies that refused the request
	RetryAfter       *float64 `json:"retry_after" minimum:"0" example:"1.25"` // seconds until this request would pass, without jitter; null if it never can
}

// CursorProblem is the Problem of an expired cursor. It has the order as it is now,
// and where to continue.
type CursorProblem struct {
	Problem
	Order      *models.Order `json:"order,omitempty"`            // the order as it is now; absent for the events of all orders: list the orders
	NextCursor string        `json:"next_cursor" example:"MS4x"` // cursor from which later events can be read
}

// FieldError is one fault of the input.
type FieldError struct {
	Location string    `json:"location" enums:"body,query,path,header" example:"body"` // part of the request
	Pointer  string    `json:"pointer" example:"/items/0/quantity"`                    // place in that part: a JSON pointer (RFC 6901) in a body, otherwise the name of the parameter
	Code     FaultCode `json:"code" swaggertype:"string" open:"true" example:"min"`    // stable, for programs
	Message  string    `json:"message" example:"must be at least 1"`                   // message, for people
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
		encoded[i] = FieldError{string(source), maskKeys(pointer(source, f.Path)), FaultCode(f.Code), maskKeys(f.Message)}
	}
	return encoded
}
