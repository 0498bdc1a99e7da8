package models

import "context"

// ChangeKind names what was changed.
type ChangeKind string

// The things whose changes are announced.
const (
	ChangedKey     ChangeKind = "key"     // the event's ID is the key's
	ChangedPlan    ChangeKind = "plan"    // the event's ID is the plan's name
	ChangedMode    ChangeKind = "limiter" // the event's ID is ModeID
	ChangedProduct ChangeKind = "product" // the event's ID is the product's; its stock has no events
)

// ModeID identifies the one enforcement mode in change events and in the audit.
const ModeID = "mode"

// ChangeEvent identifies a committed change of a key, a plan, a product or the
// enforcement mode.
type ChangeEvent struct {
	Kind    ChangeKind
	ID      string
	Version int64 // after the change; 0: deleted
}

// Invalidator is notified of every change once it is committed and before the
// caller gets its answer, so that caches drop the old state. Implementations
// don't fail and don't block for long. An event whose commit had an unknown
// outcome may describe a change that was not made.
type Invalidator interface {
	Invalidate(ctx context.Context, event ChangeEvent)
}
