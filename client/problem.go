package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Types of problems that have a meaning of their own; all others are
// "about:blank", whose meaning is the status code's.
const (
	ProblemQuotaExceeded  = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	ProblemReducedService = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// Problem is a failure that the API reports (RFC 9457). It is an error; find it
// with errors.As.
type Problem struct {
	Status    int          `json:"status"` // the HTTP status
	Type      string       `json:"type"`   // a URI; "about:blank" says no more than the status
	Title     string       `json:"title"`
	Detail    string       `json:"detail"` // what happened this time, for people
	Instance  string       `json:"instance"`
	RequestID string       `json:"request_id"` // operators find the request by it
	Errors    []FieldError `json:"errors"`     // with 422: every fault of the input

	// ViolatedPolicies are the policies that refused, with 429.
	ViolatedPolicies []string `json:"violated-policies"`
	// RetryAfter is how long to wait before the request would pass, with 429
	// and 503; nil where that isn't known or waiting doesn't help.
	RetryAfter *time.Duration `json:"-"`
	// IdempotencyKey is the one under which the request was sent, "" if it had
	// none. After a 5xx the request may have been done: to go on, send it again
	// under the same key.
	IdempotencyKey string `json:"-"`
}

// FieldError is one fault of a request's input.
type FieldError struct {
	Location string `json:"location"` // "body", "query", "path" or "header"
	Pointer  string `json:"pointer"`  // JSON pointer, or a parameter's name
	Code     string `json:"code"`     // stable, for programs: "min"
	Message  string `json:"message"`  // for people: "must be at least 1"
}

// Error says what happened, with every fault and the request's id.
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

// longestBody bounds what is read of an answer; a list's longest page is far
// shorter.
const longestBody = 64 << 20

// longestProblem bounds what is read of a failure.
const longestProblem = 1 << 20

// content is the body of an answer, whose status must be 2xx: else the error
// is a *Problem.
func content(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, problemOf(response)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, longestBody+1))
	if err != nil {
		return nil, &UnansweredError{IdempotencyKey: keyOf(response), Err: err}
	}
	if len(body) > longestBody {
		return nil, errors.New("the answer is too long")
	}
	return body, nil
}

// nothing is content for answers without one.
func nothing(response *http.Response, err error) error {
	_, err = content(response, err)
	return err
}

// decode is content, decoded.
func decode[T any](response *http.Response, err error) (*T, error) {
	body, err := content(response, err)
	if err != nil {
		return nil, err
	}
	value := new(T)
	if err := json.Unmarshal(body, value); err != nil {
		return nil, fmt.Errorf("the answer can't be read: %w", err)
	}
	return value, nil
}

// problemOf reads a failure. Something in between, a proxy perhaps, may answer
// in another form: then its status is the problem.
func problemOf(response *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(response.Body, longestProblem)) // what was read is all that is known
	return parseProblem(response, body)
}

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
	if shape.Seconds != nil && *shape.Seconds >= 0 && *shape.Seconds < never.Seconds() {
		d := time.Duration(*shape.Seconds * float64(time.Second))
		problem.RetryAfter = &d
	} else if d, ok := retryAfter(response.Header, time.Now()); ok {
		problem.RetryAfter = &d
	}
	return problem
}

// WaitError is a request that wasn't sent, since it would have waited for
// longer than [WithLongestWait], or too many wait already.
type WaitError struct {
	// RetryAfter is how long to wait until the request may be sent, at least.
	RetryAfter time.Duration
	// Policies are those that it waits for; none when it waits for others
	// that came before it.
	Policies []string
}

// Error says for how long to wait, and for what.
func (e *WaitError) Error() string {
	text := fmt.Sprintf("not sent: the quota has room in %v at the earliest", e.RetryAfter.Round(time.Millisecond))
	if len(e.Policies) > 0 {
		text += " (" + strings.Join(e.Policies, ", ") + ")"
	}
	return text
}
