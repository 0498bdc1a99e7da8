package ratelimit

import "time"

// clock reads the time as nanoseconds since the Unix epoch. The default one
// starts from the wall clock and goes on by the monotonic one: windows stand
// where the Unix epoch puts them, and a step of the machine's clock neither
// opens nor closes any. It therefore doesn't learn of such a step until the
// process is started again.
type clock struct {
	read  func() time.Time // nil for the default
	base  time.Time
	epoch int64 // of base
}

func newClock() clock {
	base := time.Now()
	return clock{base: base, epoch: base.UnixNano()}
}

func (c *clock) now() int64 {
	if c.read != nil {
		return c.read().UnixNano()
	}
	return c.epoch + int64(time.Since(c.base))
}
