package ratelimit

import "time"

// leaky_bucket lets requests through evenly, one unit each period ÷ limit: who
// comes too early waits in a queue, for at most max_wait, and is refused when
// the wait would be longer. The queue holds at most limit units, so the number
// of waiters is bounded too.
//
// It is Turner's leaky bucket as a queue ("New directions in communications",
// IEEE Communications Magazine 24/10, 1986), with a level in place of the
// queue: see level.go. What stands in the level is what has been let in and
// not yet had its turn; the wait of a newcomer is the time that the level
// takes to drain.
//
// limit 10, period 1s, max_wait 150ms; a unit takes 100 ms:
//
//	time    cost  level before   verdict                     starts   level
//	0 ms       1     0.0         admitted, wait 0             0 ms      1.0
//	0 ms       1     1.0         admitted, wait 100 ms        100 ms    2.0
//	0 ms       1     2.0         refused, retry after 50 ms             2.0
//	50 ms      3     1.5         admitted, wait 150 ms        200 ms    4.5
//	200 ms     1     3.0         refused, retry after 150 ms            3.0
//
// Only the end of the queue can be given back: a slot in its middle would
// otherwise be given away at the end, where someone already starts. A
// forgotten reservation keeps its turn, and drains.
func takeLeakyBucket(c *Compiled, s State, now, cost int64) (State, bool) {
	s = c.drain(s, now)
	if cost == 0 {
		return s, true
	}
	if cost < 0 || cost > c.capacity-s.level() || queueTime(c, s, now) > c.maxWait {
		return s, false
	}
	s.N += cost
	return s, true
}

// queueTime is how long a newcomer waits for its turn, in nanoseconds.
func queueTime(c *Compiled, s State, now int64) int64 {
	return satAdd(satSub(s.At, now), c.drainTime(s.N, s.M))
}

// turnAfter is how long the request that left state s waits for its turn.
func turnAfter(c *Compiled, s State, now, cost int64) time.Duration {
	return time.Duration(queueTime(c, s.lessUnits(cost), now))
}

func giveLeakyBucket(c *Compiled, s, taken State, now, units int64) State {
	s = c.drain(s, now)
	mine := c.drain(taken, s.At)
	if mine.N != s.N || mine.M != s.M {
		return s
	}
	return c.less(s, c.undrained(taken, s.At, units))
}

func statusLeakyBucket(c *Compiled, s State, now, cost int64, st *Status) {
	wait := queueTime(c, s, now)
	if wait <= c.maxWait {
		st.Remaining = max(0, c.capacity-s.level())
	}
	st.ResetAfter = time.Duration(wait)
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		room := satAdd(satSub(s.At, now), c.drainTime(s.N-(c.capacity-cost), s.M))
		st.RetryAfter = time.Duration(max(room, satSub(wait, c.maxWait)))
	}
}
