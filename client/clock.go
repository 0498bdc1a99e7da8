package client

import "time"

// Clock is what the pacing goes by. Its methods are safe for concurrent use.
type Clock interface {
	// Now is the present time.
	Now() time.Time
	// NewTimer returns a channel that receives once d has passed, and a
	// function that ends the timer early.
	NewTimer(d time.Duration) (fired <-chan time.Time, stop func())
}

// systemClock is package time's.
type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) NewTimer(d time.Duration) (fired <-chan time.Time, stop func()) {
	timer := time.NewTimer(d)
	return timer.C, func() { timer.Stop() }
}
