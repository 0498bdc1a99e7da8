package models

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// DefaultPlan is what a key gets when its maker names none.
const DefaultPlan = "free"

// Plan is a named list of policies. Policies is JSON, a valid list of
// ratelimit.Policy: what they mean is not this package's business.
type Plan struct {
	Name        string
	Description string
	Policies    json.RawMessage
	Version     int64 // raised by every change
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// NewPlan is what a plan shall be, whether it is there or not. Policies has
// been checked.
type NewPlan struct {
	Name        string
	Description string
	Policies    json.RawMessage
}

// Expected says which version of a thing a change may be made to: that of an
// If-Match. The zero value: any.
type Expected struct {
	Given    bool    // there is a condition
	Any      bool    // it has to be there, in whatever version
	Versions []int64 // or in one of these
	Absent   bool    // it may not be there yet: an If-None-Match of *
}

// Check returns a *StatusError (412) when the thing at hand, in this version
// or 0 for absent, is not what was expected.
func (e Expected) Check(version int64) error {
	if e.Absent && version > 0 {
		return &StatusError{Status: http.StatusPreconditionFailed, Detail: "If-None-Match doesn't fit: it is there already."}
	}
	if !e.Given || version > 0 && (e.Any || slices.Contains(e.Versions, version)) {
		return nil
	}
	detail := "If-Match doesn't fit: there is nothing here yet."
	if version > 0 {
		detail = fmt.Sprintf("If-Match is stale: the version is now %d. Read it anew, and decide again.", version)
	}
	return &StatusError{Status: http.StatusPreconditionFailed, Detail: detail}
}

// Conflict returns the error of a change that the present state doesn't allow
// (409); detail says why, and the way out.
func Conflict(detail string) error {
	return &StatusError{Status: http.StatusConflict, Detail: detail}
}

// Forbidden returns the error of a change that whoever acts may not make (403);
// detail says what is missing.
func Forbidden(detail string) error {
	return &StatusError{Status: http.StatusForbidden, Detail: detail}
}
