package ratelimit

import "time"

// clock returns the time in nanoseconds since the Unix epoch. The default clock
// adds monotonic time to the wall clock reading at its creation: windows are
// aligned to the Unix epoch, and a step of the system clock doesn't open or
// close one. It ignores such steps until the process restarts.
type clock struct {
	read  func() time.Time // nil: the default clock
	base  time.Time
	epoch int64 // base in nanoseconds since the Unix epoch
}

func newClock() clock {
	base := time.Now()
	return clock{base: base, epoch: base.UnixNano()}
}

func (c *clock) now() int64 { return c.at(time.Time{}) }

// at returns the time of a reading of time.Now; of the zero time, the present. A
// clock that was set is read in any case.
func (c *clock) at(reading time.Time) int64 {
	switch {
	case c.read != nil:
		return c.read().UnixNano()
	case reading.IsZero():
		return c.epoch + int64(time.Since(c.base))
	default:
		return c.epoch + int64(reading.Sub(c.base))
	}
}
