package ratelimit

import "time"

// takeWindow counts in windows that each start at zero: those of fixed_window,
// which are one period long and aligned to the Unix epoch, and the periods of
// calendar; see calendar.go. fixed_window is the counter per key and minute of
// the Redis manual (INCR, "Pattern: rate limiter 1"). It is cheap and easy to
// explain, but around a window boundary it admits up to twice the limit within
// one period; sliding_window doesn't.
//
// limit 5, period 1m:
//
//	time      cost  window    verdict                   used  remaining
//	12:00:58     4  12:00     admitted                     4          1
//	12:00:59     2  12:00     refused, retry after 1 s     4          1
//	12:01:00     5  12:01     admitted                     5          0
//
// State: At is the window start, N the units used in the window, M its end. Units
// are given back to the window that was charged, and lost once it has ended. An
// abandoned reservation stays spent until the window ends.
func takeWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	s = c.advanceWindow(s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.used() {
		return s, false
	}
	s.N += cost
	return s, true
}

// windowStart is the start of the current window.
func (s State) windowStart() int64 { return s.At }

// used is the units used in the current window.
func (s State) used() int64 { return s.N }

// windowEnd is the end of the current window. Storing it saves a calendar
// computation per request.
func (s State) windowEnd() int64 { return s.M }

// advanceWindow moves the state to the window of now. A late caller uses the
// window that has begun since. If the clock was set back, the units used are
// kept.
func (c *Compiled) advanceWindow(s State, now int64) State {
	s.N = clamp(s.used(), 0, MaxLimit)
	ahead := satSub(s.windowStart(), now)
	if ahead <= 0 && now < s.windowEnd() || ahead > 0 && ahead <= skew && s.windowStart() < s.windowEnd() {
		return s
	}
	next := State{}
	if ahead > 0 {
		next.N = s.used()
	}
	if c.kind == calendar {
		next.At, next.M = c.periodBounds(now)
	} else {
		next.At = floorTo(now, c.period)
		next.M = satAdd(next.At, c.period)
	}
	return next
}

func giveWindow(c *Compiled, s, taken State, now, units int64) State {
	s = c.advanceWindow(s, now)
	if s.windowStart() == taken.windowStart() {
		s.N = max(0, s.used()-units)
	}
	return s
}

func statusWindow(c *Compiled, s State, now, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-s.used())
	st.ResetAfter = time.Duration(max(0, satSub(s.windowEnd(), now)))
	st.EffectiveWindow = st.ResetAfter
	if c.waits(st, cost) > 0 {
		st.RetryAfter = st.ResetAfter
	}
}
