package models

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind classifies a domain error. The HTTP layer maps kinds to statuses.
type Kind string

// The kinds of domain errors.
const (
	KindNotFound           Kind = "not found"
	KindUnauthenticated    Kind = "invalid API key" // unknown, revoked, expired and mistyped keys alike
	KindForbidden          Kind = "forbidden"
	KindConflict           Kind = "conflict"
	KindPreconditionFailed Kind = "precondition failed"
	KindInvalid            Kind = "invalid input"
	KindUnavailable        Kind = "temporarily unavailable" // a dependency is down; a retry helps
	KindOverloaded         Kind = "overloaded"              // no capacity now; a retry helps
	KindLimited            Kind = "rate limited"            // a limit that isn't in the quota; a retry after RetryAfter helps
)

// Errors that carry only a kind. errors.Is(err, ErrNotFound) matches every
// Error of that kind. Wrap them with the cause, which is logged and never sent
// to clients.
var (
	ErrNotFound    = &Error{Kind: KindNotFound}
	ErrInvalidKey  = &Error{Kind: KindUnauthenticated}
	ErrUnavailable = &Error{Kind: KindUnavailable}
	ErrOverloaded  = &Error{Kind: KindOverloaded}
)

// ErrKeySuspended is the error of a suspended key that is presented.
var ErrKeySuspended = Forbidden("key_suspended", "This API key is suspended. Its operator can resume it.")

// Error is a failure that the caller of a service can act on. All of it may be
// sent to clients.
type Error struct {
	Kind        Kind
	Code        string        // stable, for programs; empty: the kind's own
	Message     string        // a sentence for people; empty: the kind's standard one
	RetryAfter  time.Duration // when a retry can succeed; 0: unknown
	Policy      string        // of KindLimited: the name of the limit
	Faults      []Fault       // of KindInvalid, at most maxFaults
	TotalFaults int           // len(Faults) or more
	RequestID   string        // the earlier request that Faults belong to; empty: the present one
}

// Error returns the message, or the first faults in one line.
func (e *Error) Error() string {
	switch {
	case len(e.Faults) > 0:
		return e.summary()
	case e.Message != "":
		return e.Message
	default:
		return string(e.Kind)
	}
}

// Is reports whether target is the bare error of e's kind.
func (e *Error) Is(target error) bool {
	bare, ok := target.(*Error)
	return ok && bare.Kind == e.Kind && bare.Message == "" && bare.Faults == nil
}

// summary joins the first faults; a log line must stay short.
func (e *Error) summary() string {
	const most = 10
	var parts []string
	for _, f := range e.Faults[:min(most, len(e.Faults))] {
		where := strings.Join(f.Path, ".")
		if f.Source != SourceBody {
			where = string(f.Source) + " " + where
		}
		parts = append(parts, where+": "+f.Message)
	}
	if more := e.TotalFaults - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

// Conflict returns an error of a change that the current state doesn't allow.
func Conflict(code, message string) error {
	return &Error{Kind: KindConflict, Code: code, Message: message}
}

// Forbidden returns an error of a change that the actor isn't allowed to make.
func Forbidden(code, message string) error {
	return &Error{Kind: KindForbidden, Code: code, Message: message}
}

// IsError reports whether err is or wraps a domain error.
func IsError(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// Source is the part of an input that a fault is in.
type Source string

// The sources of input.
const (
	SourceBody   Source = "body"
	SourceQuery  Source = "query"
	SourcePath   Source = "path"
	SourceHeader Source = "header"
)

// Fault is one thing that is wrong with an input.
type Fault struct {
	Source  Source
	Path    []string // field names and list indexes from the root of the source; empty: all of it
	Code    string   // stable, for programs
	Message string   // for people; never repeats a secret
}

// maxFaults bounds the answer about faults: it must not outgrow the input.
const maxFaults = 100

// Faults collects everything that is wrong with an input, so that it is
// reported at once. It counts all faults and keeps the first 100. The zero
// value is ready to use.
type Faults struct {
	list  []Fault
	total int
}

// Add adds a fault of the body at a path of field names and list indexes.
func (f *Faults) Add(code, message string, path ...string) {
	f.AddFault(Fault{Source: SourceBody, Path: path, Code: code, Message: message})
}

// AddFault adds a fault of any source.
func (f *Faults) AddFault(fault Fault) {
	if f.total++; f.total <= maxFaults {
		f.list = append(f.list, fault)
	}
}

// List returns the faults kept so far.
func (f *Faults) List() []Fault { return f.list }

// Err returns an *Error of KindInvalid with every fault, or nil without one.
func (f *Faults) Err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &Error{Kind: KindInvalid, Faults: f.list, TotalFaults: f.total}
}
