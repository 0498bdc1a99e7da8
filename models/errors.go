package models

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of failure that services return and one table in middleware turns
// into HTTP answers. Wrap them with the cause: the cause is logged, and never
// reaches a client.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalidKey  = errors.New("invalid API key")         // unknown, revoked, expired, mistyped: one answer for all
	ErrUnavailable = errors.New("temporarily unavailable") // a dependency is down; trying again later helps
	ErrOverloaded  = errors.New("overloaded")              // more work than the cores can do just now; trying again later helps
)

// Failure says what was being done when err came, and that it was ErrUnavailable
// where trying again later helps. Errors that are made for the caller stay as
// they are, and nil stays nil.
func Failure(doing string, err error, unavailable bool) error {
	var status *StatusError
	var invalid *InvalidError
	switch {
	case err == nil, errors.As(err, &status), errors.As(err, &invalid), errors.Is(err, ErrUnavailable), errors.Is(err, ErrNotFound):
		return err
	case unavailable:
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// StatusError is a failure that may be told as it is: an HTTP status (400 and
// up) and a sentence for people.
type StatusError struct {
	Status     int
	Detail     string
	RetryAfter time.Duration // when to come back; 0: nothing is said of that
}

func (e *StatusError) Error() string { return e.Detail }

// LimitedError says that the caller has to wait. RetryAfter is the time until
// a retry can pass; 0 or less: waiting doesn't help.
type LimitedError struct {
	Detail     string
	Violated   []string // names of the policies that refused
	RetryAfter time.Duration
}

func (e *LimitedError) Error() string { return e.Detail }

// FieldError is one fault of the input, at a place that a program can find.
type FieldError struct {
	Location string `json:"location" enums:"body,query,path,header" example:"body"`
	Pointer  string `json:"pointer" example:"/items/0/quantity"` // JSON pointer in a body; the parameter's name elsewhere
	Code     string `json:"code" example:"min"`                  // stable, for programs
	Message  string `json:"message" example:"must be at least 1"`
}

// InvalidError lists every fault of an input that could be read but isn't
// right (HTTP 422). Messages never repeat a secret's value.
type InvalidError struct {
	Faults    []FieldError `json:"faults"` // at most maxFaults
	Total     int          `json:"total"`  // how many there are; len(Faults) or more
	RequestID string       `json:"-"`      // the earlier request that they were found for; empty: this one
}

// Error names the first faults; a log line has to stay a line.
func (e *InvalidError) Error() string {
	const most = 10
	var parts []string
	for _, f := range e.Faults[:min(most, len(e.Faults))] {
		where := strings.TrimPrefix(f.Pointer, "/")
		if f.Location != "body" {
			where = f.Location + " " + where
		}
		parts = append(parts, where+": "+f.Message)
	}
	if more := e.Total - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// maxFaults bounds an answer about faults: an input can have more of them than
// anybody would read, and the answer must not outgrow the input.
const maxFaults = 100

// Faults gathers what is wrong with an input, so that all of it is told at
// once. It counts all faults and keeps the first 100. The zero value is ready
// to use.
type Faults struct {
	list  []FieldError
	total int
}

// Body adds a fault of the request's body at a JSON pointer.
func (f *Faults) Body(pointer, code, message string) { f.Add("body", pointer, code, message) }

// pointerEscapes spells what a JSON pointer can't hold (RFC 6901, section 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// EscapePointer spells a name as a part of a JSON pointer.
func EscapePointer(name string) string { return pointerEscapes.Replace(name) }

// Query adds a fault of a query parameter.
func (f *Faults) Query(name, code, message string) { f.Add("query", name, code, message) }

// Add adds a fault at a location: body, query, path or header.
func (f *Faults) Add(location, pointer, code, message string) {
	if f.total++; f.total <= maxFaults {
		f.list = append(f.list, FieldError{Location: location, Pointer: pointer, Code: code, Message: message})
	}
}

// List returns the faults that are kept so far.
func (f *Faults) List() []FieldError { return f.list }

// Err returns an *InvalidError with every fault, or nil when there is none.
func (f *Faults) Err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Faults: f.list, Total: f.total}
}
