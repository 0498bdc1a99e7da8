package models

import (
	"net/netip"
	"time"
)

// NewKey says what a new key shall be. Only Name is required: Plan defaults to
// DefaultPlan (with Admin: internal), Scopes to DefaultScopes (with Admin:
// admin), Owner to a new one. What has a form is checked where it is read.
type NewKey struct {
	Name      string
	Plan      string
	Scopes    []Scope
	Owner     string
	Admin     bool // an operator's key, with an operator's defaults
	ExpiresAt *time.Time
	IPAllow   []netip.Prefix
	Metadata  map[string]string
	Overrides []Override
}

// KeyFilter narrows a list of keys down. Empty fields match everything.
type KeyFilter struct {
	Owner, Plan string
	Status      KeyStatus
	Search      string // in name and owner, whatever the case; or the whole id
}

// MaxGrace is how long a key may work on after it was rotated.
const MaxGrace = 7 * 24 * time.Hour

// Rotation is what came of rotating a key.
type Rotation struct {
	Key  APIKey // the new one
	Text string // the only time that it is shown
	Old  APIKey // the one before, which ends with its grace
}
