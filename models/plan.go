package models

import (
	"fmt"
	"slices"
	"time"

	"ratelimiter/ratelimit"
)

// DefaultPlan is the plan of a key that is created without one.
const DefaultPlan = "free"

// Plan is a named list of policies.
type Plan struct {
	Name        string
	Description string
	Policies    []ratelimit.Policy
	Version     int64 // raised by every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// NewPlan is the wanted state of a plan that may exist already. Policies are
// valid.
type NewPlan struct {
	Name        string
	Description string
	Policies    []ratelimit.Policy
	CreatedAt   *time.Time // must be that of an existing plan; nil: not given
}

// Precondition restricts a change to certain versions of what it changes. The
// zero value allows any.
type Precondition struct {
	Given    bool    // there is a condition on the version
	Any      bool    // it must exist, in any version
	Versions []int64 // or in one of these
	Absent   bool    // it must not exist
}

// Check returns an error of KindPreconditionFailed when version doesn't meet
// the condition; 0 means that the thing doesn't exist.
func (p Precondition) Check(version int64) error {
	if p.Absent && version > 0 {
		return &Error{Kind: KindPreconditionFailed, Message: "It exists already."}
	}
	if !p.Given || version > 0 && (p.Any || slices.Contains(p.Versions, version)) {
		return nil
	}
	message := "It does not exist yet."
	if version > 0 {
		message = fmt.Sprintf("The given version is stale: the current one is %d. Read it again before changing it.", version)
	}
	return &Error{Kind: KindPreconditionFailed, Message: message}
}
