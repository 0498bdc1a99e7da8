package ratelimit

import "time"

// takeSlidingWindow smooths fixed windows: the previous window is weighted by
// the part of it that the last period covers. This is Cloudflare's counter ("How
// we built rate limiting capable of scaling to millions of domains", 2017). It
// stores two numbers where sliding_log stores one per request. Its error is the
// assumption that the previous window was spent evenly.
//
// limit 10, period 1m; the estimate is used + previous × weight, and the
// weighted part is rounded up:
//
//	time      cost  previous  weight  estimate before  verdict                     used
//	12:00:50     8         0    1/6        0           admitted                       8
//	12:01:15     4         8    3/4        6           admitted                       4
//	12:01:15     1         8    3/4        10          refused, retry after 7.5 s     4
//	12:01:22.5   1         8    5/8        9           admitted                       5
//
// State: At is the start of the current window, N the units used in it, M the
// units used in the previous window. Units are given back to the window that was
// charged while it is the current or the previous one, and lost after that. An
// abandoned reservation stays spent until it has slid out.
func takeSlidingWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	s = advanceSlidingWindow(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.used()-weightedPrevious(c, s, now) {
		return s, false
	}
	s.N += cost
	return s, true
}

// previous is the units used in the previous window.
func (s State) previous() int64 { return s.M }

// advanceSlidingWindow moves both windows to now. A late caller uses the window
// that has begun since. If the clock was set back, the units used are kept.
func advanceSlidingWindow(c *Compiled, s State, now int64) State {
	s.N, s.M = clamp(s.used(), 0, MaxLimit), clamp(s.previous(), 0, MaxLimit)
	start := floorTo(now, c.period)
	switch {
	case s.windowStart() == start:
	case s.windowStart() < start:
		if satAdd(s.windowStart(), c.period) == start {
			return State{At: start, M: s.used()}
		}
		return State{At: start}
	case satSub(s.windowStart(), now) > skew:
		s.At = start
	}
	return s
}

// weightedPrevious returns the previous window's part of the estimate, in units
// rounded up.
func weightedPrevious(c *Compiled, s State, now int64) int64 {
	if s.previous() == 0 {
		return 0
	}
	covered := c.period - clamp(satSub(now, s.windowStart()), 0, c.period-1)
	return mulDivUp(s.previous(), covered, c.period)
}

func giveSlidingWindow(c *Compiled, s, taken State, now, units int64) State {
	s = advanceSlidingWindow(c, s, now)
	switch taken.windowStart() {
	case s.windowStart():
		s.N = max(0, s.used()-units)
	case satSub(s.windowStart(), c.period):
		s.M = max(0, s.previous()-units)
	}
	return s
}

func statusSlidingWindow(c *Compiled, s State, now, cost int64, st *Status) {
	end := satAdd(s.windowStart(), c.period)
	st.Remaining = max(0, c.capacity-s.used()-weightedPrevious(c, s, now))
	st.ResetAfter = time.Duration(satSub(end, now))
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		st.RetryAfter = time.Duration(satSub(estimateReaches(c, s, c.capacity-cost), now))
	}
}

// estimateReaches returns the first instant at which the estimate is at most
// target.
func estimateReaches(c *Compiled, s State, target int64) int64 {
	if target >= s.used() && s.previous() > 0 {
		// In the current window: used + previous × (period − e) ÷ period ≤ target.
		if e := c.period - coverage(c, target-s.used(), s.previous()); e < c.period {
			return satAdd(s.windowStart(), e)
		}
	}
	// In the next window, whose previous one is the current one.
	next := satAdd(s.windowStart(), c.period)
	return satAdd(next, c.period-coverage(c, target, s.used()))
}

// coverage returns the largest part of a window of used units, in nanoseconds,
// whose weighted units are at most target.
func coverage(c *Compiled, target, used int64) int64 {
	if target >= used {
		return c.period
	}
	q, _, _ := mulDiv(target, c.period, used)
	return q
}
