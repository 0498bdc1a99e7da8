package ratelimit

import "strings"

// Fault is one thing that is wrong with a list of policies.
type Fault struct {
	// Pointer is the JSON pointer of the faulty value, relative to the list:
	// "/0/limit"; "" is the list itself.
	Pointer string `json:"pointer"`
	// Code is stable and for programs, one of the Fault constants.
	Code string `json:"code"`
	// Message is for people.
	Message string `json:"message"`
}

// The codes of faults.
const (
	FaultRequired   = "required"    // missing or empty
	FaultType       = "type"        // not of the JSON type that the field has
	FaultUnknown    = "unknown"     // no such field
	FaultDuplicate  = "duplicate"   // the same name or field twice
	FaultNotAllowed = "not_allowed" // the field means nothing for this algorithm
	FaultPattern    = "pattern"     // not spelled as it must be
	FaultEnum       = "enum"        // not one of the known values
	FaultMin        = "min"         // too small
	FaultMax        = "max"         // too large, alone or with another field
	FaultMaxItems   = "max_items"   // too many policies
	FaultSyntax     = "syntax"      // not JSON
)

// InvalidError lists every fault of a list of policies.
type InvalidError struct {
	// Faults is never empty; it is ordered by policy.
	Faults []Fault
}

// Error lists all faults in one line.
func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("invalid policies: ")
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		if f.Pointer != "" {
			b.WriteString(f.Pointer)
			b.WriteByte(' ')
		}
		b.WriteString(f.Message)
	}
	return b.String()
}

// faults collects what is wrong; the first fault at a pointer wins, because
// the later ones follow from it.
type faults struct {
	list []Fault
	seen map[string]bool
}

func (f *faults) add(pointer, code, message string) {
	if f.seen[pointer] {
		return
	}
	if f.seen == nil {
		f.seen = make(map[string]bool)
	}
	f.seen[pointer] = true
	f.list = append(f.list, Fault{Pointer: pointer, Code: code, Message: message})
}

// err is nil, or an *InvalidError with everything that was added.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Faults: f.list}
}
