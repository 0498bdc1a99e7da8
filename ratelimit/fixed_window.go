package ratelimit

import "time"

// fixed_window counts in windows of one period, aligned to the Unix epoch, and
// starts each at zero. It is the plain counter of a key and a minute, as in
// the Redis manual's page on INCR ("Pattern: rate limiter 1"). Cheap and
// easily explained; around a window's edge it lets through up to twice the
// limit within one period, which sliding_window does not.
//
// limit 5, period 1m:
//
//	time      cost  window    verdict                   used  remaining
//	12:00:58     4  12:00     admitted                     4          1
//	12:00:59     2  12:00     refused, retry after 1 s     4          1
//	12:01:00     5  12:01     admitted                     5          0
//
// State: At is the window's start, N the units used in it. What is given back
// goes to the window that was charged; once that has ended, nowhere. A
// forgotten reservation stays spent until the window ends.
func takeFixedWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	s = enterFixedWindow(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.N {
		return s, false
	}
	s.N += cost
	return s, true
}

// enterFixedWindow finds the window of now. A late caller counts in the window
// that has since begun; after a clock set back, what was spent is kept.
func enterFixedWindow(c *Compiled, s State, now int64) State {
	s.N = clamp(s.N, 0, MaxLimit)
	start := floorTo(now, c.period)
	switch {
	case s.At < start:
		return State{At: start}
	case s.At > start && satSub(s.At, now) > skew:
		s.At = start
	}
	return s
}

func giveFixedWindow(c *Compiled, s, taken State, now, units int64) State {
	s = enterFixedWindow(c, s, now)
	if s.At == taken.At {
		s.N = max(0, s.N-units)
	}
	return s
}

func statusFixedWindow(c *Compiled, s State, now, cost int64, st *Status) {
	windowStatus(c, s.N, satSub(satAdd(s.At, c.period), now), cost, st)
}

// windowStatus is the status of a window that forgets all it has counted at
// its end, which is end nanoseconds away.
func windowStatus(c *Compiled, used, end, cost int64, st *Status) {
	st.Remaining = max(0, c.capacity-used)
	st.ResetAfter = time.Duration(max(0, end))
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		st.RetryAfter = st.ResetAfter
	}
}
