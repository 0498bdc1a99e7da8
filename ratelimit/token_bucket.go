package ratelimit

import "time"

// token_bucket admits bursts up to a capacity, which refills evenly.
//
// It is the generic cell rate algorithm (ITU-T I.371, annex A) in its
// continuous-state form, exact to the last unit: see level.go. In any time t
// it admits at most burst + limit × t ÷ period units.
//
// limit 10, period 1s, burst 20; a unit drains in 100 ms:
//
//	time    cost  level before   verdict                    level  remaining
//	0 ms      15     0.0         admitted                    15.0          5
//	0 ms       6    15.0         refused, retry after 100 ms 15.0          5
//	100 ms     6    14.0         admitted                    20.0          0
//	150 ms     1    19.5         refused, retry after 50 ms  19.5          0
//	2.1 s      1     0.0         admitted                     1.0         19
//
// Given back is what has not drained yet: the units of the second line's
// request could be returned whole until 2.1 s, and nothing of them then. A
// forgotten reservation stays spent, and drains.
func takeTokenBucket(c *Compiled, s State, now, cost int64) (State, bool) {
	s = c.drain(s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.level() {
		return s, false
	}
	s.N += cost
	return s, true
}

func giveTokenBucket(c *Compiled, s, taken State, now, units int64) State {
	s = c.drain(s, now)
	return c.less(s, c.undrained(taken, s.At, units))
}

func statusTokenBucket(c *Compiled, s State, now, cost int64, st *Status) {
	late := satSub(s.At, now)
	st.Remaining = max(0, c.capacity-s.level())
	st.ResetAfter = time.Duration(satAdd(late, c.drainTime(s.N, s.M)))
	if st.Allowed && cost > 0 {
		return
	}
	cost = max(cost, 1)
	switch {
	case cost > c.capacity:
		st.RetryAfter = Never
	case cost > st.Remaining:
		st.RetryAfter = time.Duration(satAdd(late, c.drainTime(s.N-(c.capacity-cost), s.M)))
	}
}
