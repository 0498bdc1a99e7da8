package models

import "time"

// LimiterMode says whether policies refuse, all over: ModeEnforce lets each
// have its own mode, ModeShadow turns all of them to shadow.
type LimiterMode struct {
	Mode      string
	Version   int64      // raised by every change
	ChangedAt *time.Time // nil: it never was
}

// The limiter's modes.
const (
	ModeEnforce = "enforce"
	ModeShadow  = "shadow"
)
