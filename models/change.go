package models

import "context"

// ChangeKind says what was changed, where a committed change is announced.
type ChangeKind string

// The things whose changes are announced.
const (
	ChangedKey  ChangeKind = "key"     // its id is the key's
	ChangedPlan ChangeKind = "plan"    // its id is the plan's name
	ChangedMode ChangeKind = "limiter" // its id is ModeID
)

// ModeID names the one mode of the limiter in changes and in the audit.
const ModeID = "mode"

// Announcer is told of every change to a key, a plan or the mode once it is committed,
// before the answer leaves: so that no memory goes on with what was before.
// It must not fail, and should not take long. It may be told of a change that
// was not made after all, when a commit's outcome is unknown.
type Announcer interface {
	// Changed tells that the key, plan or mode of this id is now in this version, 0
	// when it is gone.
	Changed(ctx context.Context, kind ChangeKind, id string, version int64)
}
