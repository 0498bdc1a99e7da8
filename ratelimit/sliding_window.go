package ratelimit

import "time"

// sliding_window smooths fixed windows: the window before counts in
// proportion to how much of it the last period still covers. This is
// Cloudflare's counter ("How we built rate limiting capable of scaling to
// millions of domains", 2017). It needs two numbers where sliding_log needs
// one for each request, and pays with an error: it takes the window before to
// have been spent evenly.
//
// limit 10, period 1m; the estimate is used + previous × share, and the
// weighted part is rounded up:
//
//	time      cost  previous  share  estimate before  verdict                     used
//	12:00:50     8         0   1/6        0           admitted                       8
//	12:01:15     4         8   3/4        6           admitted                       4
//	12:01:15     1         8   3/4        10          refused, retry after 7.5 s     4
//	12:01:22.5   1         8   5/8        9           admitted                       5
//
// State: At is the present window's start, N the units used in it, M those of
// the window before. What is given back goes to the window that was charged,
// also while it is the one before; then nowhere. A forgotten reservation
// stays spent until it has slid out.
func takeSlidingWindow(c *Compiled, s State, now, cost int64) (State, bool) {
	s = enterSlidingWindow(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.N-weighted(c, s, now) {
		return s, false
	}
	s.N += cost
	return s, true
}

// enterSlidingWindow moves the two windows on to now. A late caller counts in
// the window that has since begun; after a clock set back, what was spent is
// kept.
func enterSlidingWindow(c *Compiled, s State, now int64) State {
	s.N, s.M = clamp(s.N, 0, MaxLimit), clamp(s.M, 0, MaxLimit)
	start := floorTo(now, c.period)
	switch {
	case s.At == start:
	case s.At < start:
		if satAdd(s.At, c.period) == start {
			return State{At: start, M: s.N}
		}
		return State{At: start}
	case satSub(s.At, now) > skew:
		s.At = start
	}
	return s
}

// weighted is what the window before still counts for, in units rounded up.
func weighted(c *Compiled, s State, now int64) int64 {
	if s.M == 0 {
		return 0
	}
	covered := c.period - clamp(satSub(now, s.At), 0, c.period-1)
	return mulDivUp(s.M, covered, c.period)
}

func giveSlidingWindow(c *Compiled, s, taken State, now, units int64) State {
	s = enterSlidingWindow(c, s, now)
	switch taken.At {
	case s.At:
		s.N = max(0, s.N-units)
	case satSub(s.At, c.period):
		s.M = max(0, s.M-units)
	}
	return s
}

func statusSlidingWindow(c *Compiled, s State, now, cost int64, st *Status) {
	end := satAdd(s.At, c.period)
	st.Remaining = max(0, c.capacity-s.N-weighted(c, s, now))
	st.ResetAfter = time.Duration(satSub(end, now))
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		st.RetryAfter = time.Duration(satSub(slidesAt(c, s, c.capacity-cost), now))
	}
}

// slidesAt is the first instant at which the estimate is at most room.
func slidesAt(c *Compiled, s State, room int64) int64 {
	if room >= s.N && s.M > 0 {
		// In this window: N + M × (period − e) ÷ period ≤ room.
		if e := c.period - share(c, room-s.N, s.M); e < c.period {
			return satAdd(s.At, e)
		}
	}
	// In the next one, where N has become the window before.
	next := satAdd(s.At, c.period)
	return satAdd(next, c.period-share(c, room, s.N))
}

// share is the most nanoseconds of a window of used units that may be covered
// while it counts for at most room.
func share(c *Compiled, room, used int64) int64 {
	if room >= used {
		return c.period
	}
	q, _, _ := mulDiv(room, c.period, used)
	return q
}
