package ratelimit

import "time"

// takeFixedWindow counts in windows of one period, aligned to the Unix epoch,
// each starting at zero. It is the counter per key and minute of the Redis
// manual (INCR, "Pattern: rate limiter 1"). It is cheap and easy to explain, but
// around a window boundary it admits up to twice the limit within one period;
// sliding_window doesn't.
//
// limit 5, period 1m:
//
//	time      cost  window    verdict                   used  remaining
//	12:00:58     4  12:00     admitted                     4          1
//	12:00:59     2  12:00     refused, retry after 1 s     4          1
//	12:01:00     5  12:01     admitted                     5          0
//
// State: At is the window start, N the units used in the window. Units are
// given back to the window that was charged, and lost once it has ended. An
// abandoned reservation stays spent until the window ends.
func takeFixedWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	s = advanceFixedWindow(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.used() {
		return s, false
	}
	s.N += cost
	return s, true
}

// windowStart is the start of the current window or calendar period.
func (s State) windowStart() int64 { return s.At }

// used is the units used in the current window or calendar period.
func (s State) used() int64 { return s.N }

// advanceFixedWindow moves the state to the window of now. A late caller uses
// the window that has begun since. If the clock was set back, the units used
// are kept.
func advanceFixedWindow(c *Compiled, s State, now int64) State {
	s.N = clamp(s.used(), 0, MaxLimit)
	start := floorTo(now, c.period)
	switch {
	case s.windowStart() < start:
		return State{At: start}
	case s.windowStart() > start && satSub(s.windowStart(), now) > skew:
		s.At = start
	}
	return s
}

func giveFixedWindow(c *Compiled, s, taken State, now, units int64) State {
	s = advanceFixedWindow(c, s, now)
	if s.windowStart() == taken.windowStart() {
		s.N = max(0, s.used()-units)
	}
	return s
}

func statusFixedWindow(c *Compiled, s State, now, cost int64, st *Status) {
	end := satAdd(s.windowStart(), c.period)
	windowStatus(c, s.used(), satSub(end, now), cost, st)
}

// windowStatus fills in the status of a window that ends in untilEnd
// nanoseconds and then starts at zero.
func windowStatus(c *Compiled, used, untilEnd, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-used)
	st.ResetAfter = time.Duration(max(0, untilEnd))
	st.EffectiveWindow = st.ResetAfter
	if c.waits(st, cost) > 0 {
		st.RetryAfter = st.ResetAfter
	}
}
