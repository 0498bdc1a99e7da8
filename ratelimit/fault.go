package ratelimit

import "strings"

// Fault is one validation error in a list of policies.
type Fault struct {
	// Pointer is the JSON pointer of the invalid value relative to the list,
	// such as "/0/limit". It is "" for the list itself.
	Pointer string `json:"pointer"`
	// Code is one of the Fault constants. Codes are stable.
	Code string `json:"code"`
	// Message is a description for humans.
	Message string `json:"message"`
}

// Codes of faults.
const (
	FaultRequired   = "required"    // missing or empty
	FaultType       = "type"        // wrong JSON type
	FaultUnknown    = "unknown"     // unknown field
	FaultDuplicate  = "duplicate"   // repeated name or field
	FaultNotAllowed = "not_allowed" // field not allowed for the algorithm
	FaultPattern    = "pattern"     // invalid format
	FaultEnum       = "enum"        // not one of the known values
	FaultMin        = "min"         // too small
	FaultMax        = "max"         // too large, possibly in combination with another field
	FaultMaxItems   = "max_items"   // too many policies
	FaultSyntax     = "syntax"      // not JSON
)

// InvalidError lists every fault of a list of policies.
type InvalidError struct {
	// Faults is not empty. It is ordered by policy.
	Faults []Fault
}

// Error returns all faults in one line.
func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = strings.TrimSpace(f.Pointer + " " + f.Message)
	}
	return "invalid policies: " + strings.Join(texts, "; ")
}

// faults collects faults. It keeps the first one per pointer, because later
// ones are consequences of it.
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

// err returns an *InvalidError with all faults, or nil if there are none.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Faults: f.list}
}
