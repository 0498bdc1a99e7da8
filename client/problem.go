package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Types of problems. All others are "about:blank": they mean no more than their
// status.
const (
	ProblemQuotaExceeded  = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	ProblemReducedService = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// Problem is a failure that the API reports (RFC 9457). It is an error; find it
// with errors.As.
type Problem struct {
	Status    int          `json:"status"` // HTTP status
	Type      string       `json:"type"`   // a URI
	Title     string       `json:"title"`
	Detail    string       `json:"detail"` // what happened this time, in words
	Instance  string       `json:"instance"`
	RequestID string       `json:"request_id"` // for the operator's logs
	Errors    []FieldError `json:"errors"`     // with 422: every fault of the input

	// ViolatedPolicies are the policies that refused the request, with 429.
	ViolatedPolicies []string `json:"violated-policies"`
	// RetryAfter is how long to wait before the request would pass, with 429
	// and 503; nil if that is unknown or the request can never pass.
	RetryAfter *time.Duration `json:"-"`
	// Order is the order as it is now, with 410; nil for the events of all orders.
	Order *Order `json:"order"`
	// NextCursor is where to resume events, with 410.
	NextCursor string `json:"next_cursor"`
	// IdempotencyKey is the one that the request was sent under, "" if none.
	// After a 5xx the request may have been carried out: send it again under
	// the same key.
	IdempotencyKey string `json:"-"`
}

// FieldError is one fault of a request's input.
type FieldError struct {
	Location string `json:"location"` // "body", "query", "path" or "header"
	Pointer  string `json:"pointer"`  // JSON pointer, or a parameter's name
	Code     string `json:"code"`     // stable, for programs: "min"
	Message  string `json:"message"`  // for people: "must be at least 1"
}

// Error returns the status, the detail, every fault and the request id.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, fault := range p.Errors {
		fmt.Fprintf(&b, " %s %s %s.", fault.Location, fault.Pointer, fault.Message)
	}
	if len(p.ViolatedPolicies) > 0 {
		b.WriteString(" Refused by " + strings.Join(p.ViolatedPolicies, ", ") + ".")
	}
	if p.RequestID != "" {
		b.WriteString(" (" + p.RequestID + ")")
	}
	return b.String()
}

const (
	maxBody    = 64 << 20 // bytes; the longest page of a list is far shorter
	maxProblem = 1 << 20  // bytes
)

// content returns the body of a response. Any status but 2xx is a *Problem.
func content(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // a truncated body is parsed as far as it goes
		return nil, parseProblem(response, body)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, &UnansweredError{IdempotencyKey: keyOf(response), Err: err}
	}
	if len(body) > maxBody {
		return nil, errors.New("response body is too long")
	}
	return body, nil
}

// nothing is content for responses without a body.
func nothing(response *http.Response, err error) error {
	_, err = content(response, err)
	return err
}

// decode is content, decoded from JSON.
func decode[T any](response *http.Response, err error) (*T, error) {
	body, err := content(response, err)
	if err != nil {
		return nil, err
	}
	value := new(T)
	if err := json.Unmarshal(body, value); err != nil {
		return nil, fmt.Errorf("decode response: %w", err)
	}
	return value, nil
}

// parseProblem reads the body of a failed response. A proxy may answer in
// another format; then only the status and the request id are known.
func parseProblem(response *http.Response, body []byte) *Problem {
	var shape struct {
		Problem
		Seconds *float64 `json:"retry_after"`
	}
	problem := &shape.Problem
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		if json.Unmarshal(body, &shape) != nil {
			*problem = Problem{}
		}
	}
	problem.Status, problem.IdempotencyKey = response.StatusCode, keyOf(response)
	if problem.Title == "" {
		problem.Title = http.StatusText(response.StatusCode)
	}
	if problem.RequestID == "" {
		problem.RequestID = response.Header.Get("X-Request-Id")
	}
	if s := shape.Seconds; s != nil && *s >= 0 && *s <= seconds(math.MaxInt64).Seconds() {
		problem.RetryAfter = new(time.Duration(*s * float64(time.Second)))
	} else if d := retryAfter(response.Header, time.Now()); d > 0 {
		problem.RetryAfter = &d
	}
	return problem
}

// WaitError reports a request that wasn't sent, or wasn't sent again, because it
// would wait longer than [Options.MaxWait].
type WaitError struct {
	// RetryAfter is when the request may be sent at the earliest; 0 if unknown.
	RetryAfter time.Duration
	// Policies are the names of those that have too little left.
	Policies []string
}

func waitError(at, now time.Time, short []*policy) *WaitError {
	e := &WaitError{}
	if at != unknown {
		e.RetryAfter = max(0, at.Sub(now))
	}
	for _, p := range short {
		if p.name != "" {
			e.Policies = append(e.Policies, p.name)
		}
	}
	slices.Sort(e.Policies)
	return e
}

// Error returns how long to wait, and for which policies.
func (e *WaitError) Error() string {
	text := "not sent: waited too long for the quota"
	if e.RetryAfter > 0 {
		text = fmt.Sprintf("not sent: quota available in %v at the earliest", e.RetryAfter.Round(time.Millisecond))
	}
	if len(e.Policies) > 0 {
		text += " (" + strings.Join(e.Policies, ", ") + ")"
	}
	return text
}
