package models

// ProblemMediaType is the media type of every error answer (RFC 9457).
const ProblemMediaType = "application/problem+json"

// Types of problems that have a meaning of their own; all others are
// "about:blank", whose meaning is the status code's.
const (
	ProblemBlank           = "about:blank"
	ProblemQuotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	ProblemReducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// Problem is the one shape of every error answer (RFC 9457).
type Problem struct {
	Type      string       `json:"type" example:"about:blank"`
	Title     string       `json:"title" example:"Unprocessable Content"`
	Status    int          `json:"status" example:"422"`
	Detail    string       `json:"detail" example:"1 fault in the request: see errors."`
	Instance  string       `json:"instance" example:"/v1/orders"`
	RequestID string       `json:"request_id" example:"req_V1StGXR8Z5jdHi6B"`
	Errors    []FieldError `json:"errors,omitempty"` // on 422: every fault at once
}

// QuotaProblem is the Problem of a 429: it also says which policies refused and
// when to come back.
type QuotaProblem struct {
	Problem
	ViolatedPolicies []string `json:"violated-policies" example:"burst"` // the draft's spelling
	RetryAfter       *float64 `json:"retry_after" example:"0.4"`         // seconds; null where waiting doesn't help
}
