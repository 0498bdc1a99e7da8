package models

import (
	"net/netip"
	"time"
)

// NewKey describes a key to create. Only Name is required. Plan defaults to
// DefaultPlan (with Admin: internal), Scopes to DefaultScopes (with Admin:
// admin), Owner to a new one. The syntax of all fields has been checked.
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

// KeyFilter selects keys. Empty fields match everything.
type KeyFilter struct {
	Owner, Plan string
	Status      KeyStatus
	Search      string // case-insensitive substring of name or owner, or the whole id
}

// KeySelector selects the keys to revoke: those of an owner, or of a subject.
// Exactly one is set.
type KeySelector struct{ Owner, Subject string }

// MaxGrace is the longest grace period of a rotated key.
const MaxGrace = 7 * 24 * time.Hour

// Rotation is the result of rotating a key.
type Rotation struct {
	Key  APIKey // the new key
	Text string // the new key's text, shown only once
	Old  APIKey // the rotated key, which expires with its grace period
}
