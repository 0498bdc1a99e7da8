package models

import "time"

// EnforcementMode is the state of the global switch over all policies.
// ModeEnforce applies each policy's own mode; ModeShadow runs all of them in
// shadow mode.
type EnforcementMode struct {
	Mode      string
	Version   int64      // raised by every change
	ChangedAt *time.Time // nil: never changed
}

// The enforcement modes.
const (
	ModeEnforce = "enforce"
	ModeShadow  = "shadow"
)
