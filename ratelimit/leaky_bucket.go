package ratelimit

import "time"

// takeLeakyBucket applies Turner's leaky bucket as a queue ("New directions in
// communications", IEEE Communications Magazine 24/10, 1986). It spaces
// requests by the emission interval: an early request queues for at most
// max_wait and is refused if it would have to wait longer. The queue holds at
// most limit units, which bounds the number of waiters.
//
// The level is the queue; see level.go. It holds the units that were admitted
// and whose turn hasn't come. A new request's turn is at the TAT.
//
// limit 10, period 1s, max_wait 150ms; the emission interval is 100 ms:
//
//	time    cost  level before   verdict                     starts   level
//	0 ms       1     0.0         admitted, wait 0             0 ms      1.0
//	0 ms       1     1.0         admitted, wait 100 ms        100 ms    2.0
//	0 ms       1     2.0         refused, retry after 50 ms             2.0
//	50 ms      3     1.5         admitted, wait 150 ms        200 ms    4.5
//	200 ms     1     3.0         refused, retry after 150 ms            3.0
//
// Remaining counts single units: in the example, 2 at the start, whose turns are
// at 0 ms and 100 ms. One request of a higher cost passes too, because it waits
// for the turn of its first unit only.
//
// Only the last request in the queue can be given back. Freeing a slot in the
// middle would admit a new request at the end, where another one already has
// that turn. An abandoned reservation keeps its turn and drains.
func takeLeakyBucket(c *Compiled, s State, now, cost int64) (State, bool) {
	s = c.drain(s, now)
	if cost == 0 {
		return s, true
	}
	if cost < 0 || cost > c.capacity-s.level() || c.untilTAT(s, now) > c.maxWait {
		return s, false
	}
	s.N += cost // newTAT = TAT + cost × emission interval
	return s, true
}

// queueWait returns the time until the turn of the request of cost units whose
// take returned s.
func queueWait(c *Compiled, s State, now, cost int64) time.Duration {
	return time.Duration(c.untilTAT(c.subtract(s, State{N: cost}), now))
}

func giveLeakyBucket(c *Compiled, s, taken State, now, units int64) State {
	s = c.drain(s, now)
	tail := c.drain(taken, s.At)
	if tail.N != s.N || tail.M != s.M {
		return s // another request has queued since
	}
	return c.subtract(s, c.undrained(taken, s.At, units, 0))
}

// turnsLeft returns how many single units could queue now: those whose turns,
// one emission interval apart from the TAT on, begin within max_wait.
func turnsLeft(c *Compiled, s State, now int64) int64 {
	units, rest, ok := mulDiv(max(0, satAdd(c.maxWait, satSub(now, s.At))), c.limit, c.period)
	switch {
	case !ok:
		return never
	case units < s.N || units == s.N && rest < s.M:
		return 0
	case rest < s.M:
		return units - s.N
	default:
		return units - s.N + 1
	}
}

func statusLeakyBucket(c *Compiled, s State, now, cost int64, st *Status) {
	wait := c.untilTAT(s, now)
	room := max(0, c.capacity-s.level())
	if wait <= c.maxWait {
		st.Remaining = min(room, turnsLeft(c, s, now))
	}
	st.ResetAfter = time.Duration(wait)
	st.EffectiveWindow = time.Duration(c.emissionInterval)
	if wait > 0 { // until there is room, and a turn within max_wait, for one unit more
		turn := satSub(c.untilLevel(s, -st.Remaining, now), c.maxWait)
		st.EffectiveWindow = time.Duration(max(c.untilLevel(s, c.capacity-st.Remaining-1, now), turn))
	}
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > room || wait > c.maxWait:
		untilRoom := c.untilLevel(s, c.capacity-cost, now)
		st.RetryAfter = time.Duration(max(untilRoom, satSub(wait, c.maxWait)))
	}
}
