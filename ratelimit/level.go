package ratelimit

import "math/bits"

// token_bucket and leaky_bucket are the generic cell rate algorithm (GCRA) in
// its continuous-state form (ITU-T I.371, annex A, "leaky bucket"). Their state
// is a level: the units that were spent and haven't drained yet.
//
//	At  time of the last update
//	N   whole units of the level
//	M   fraction of the level, in 1/period of a unit (period in nanoseconds)
//	X   units of debt when it was last charged; 0 once the level is back within
//	    the capacity
//
// In d nanoseconds a level drains by d × limit ÷ period units, which is a whole
// number of 1/period units. Nothing is rounded, so a bucket admits exactly the
// policy's rate. A level is measured in units, not in time, so that a changed
// limit or burst keeps the units spent.
//
// The theoretical arrival time (TAT) of the virtual scheduling form is
// At + level × emission interval: the instant at which the level is empty. A
// request of cost units adds cost × emission interval to it. Both forms admit
// the same requests.

// drain advances a level to now. At of the result is now, or up to skew later
// for a late caller.
func (c *Compiled) drain(s State, now int64) State {
	if s.N < 0 || s.M < 0 || s.M >= c.period {
		s.N, s.M = max(s.N, 0), 0
	}
	if s.N <= c.capacity {
		s.X = 0
	} else if most := c.maxLevel + clamp(s.X, 0, maxDebt); s.N >= most {
		s.N, s.M = most, 0
	}
	elapsed := satSub(now, s.At)
	if elapsed <= 0 {
		if elapsed < -skew {
			s.At = now
		}
		return s
	}
	s.At = now
	if s.N|s.M == 0 {
		return s
	}
	units, rest, ok := mulDiv(elapsed, c.limit, c.period)
	if !ok || units > s.N || units == s.N && rest >= s.M {
		s.N, s.M = 0, 0
		return s
	}
	return c.subtract(s, State{N: units, M: rest})
}

// maxDebt is the largest debt, in units. It keeps sums of units exact in a float64,
// as stores in other languages have them, and is more than MaxCost for each of a
// billion reservations.
const maxDebt = 1 << 52

// chargeLevel adds units to a level, above the capacity if need be.
func (c *Compiled) chargeLevel(s State, now, units int64) State {
	s = c.drain(s, now)
	s.N = min(s.N+units, maxDebt)
	s.X = max(0, s.N-c.capacity)
	return s
}

// level returns the level in units, rounded up.
func (s State) level() int64 {
	if s.M > 0 {
		return s.N + 1
	}
	return s.N
}

// untilTAT returns TAT − now in nanoseconds, rounded up.
func (c *Compiled) untilTAT(s State, now int64) int64 {
	return c.untilLevel(s, 0, now)
}

// untilLevel returns the nanoseconds from now until the level has drained to
// the given units, rounded up. A level below that counts as drained.
func (c *Compiled) untilLevel(s State, units, now int64) int64 {
	return satAdd(satSub(s.At, now), c.drainTime(s.N-units, s.M))
}

// drainTime returns the nanoseconds in which n units and m ÷ period drain,
// rounded up; 0 if n is negative.
func (c *Compiled) drainTime(n, m int64) int64 {
	if n < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), uint64(c.period))
	lo, carry := bits.Add64(lo, uint64(m), 0)
	hi += carry
	lo, carry = bits.Add64(lo, uint64(c.limit-1), 0)
	hi += carry
	if hi == 0 {
		return int64(min(lo/uint64(c.limit), never))
	}
	if hi >= uint64(c.limit) {
		return never
	}
	q, _ := bits.Div64(hi, lo, uint64(c.limit))
	return int64(min(q, never))
}

// undrained returns the part of a take's newest units that hasn't drained at
// now. taken is the level after the take. Only that part can be given back:
// time has restored the rest.
func (c *Compiled) undrained(taken State, now, units int64) State {
	d := c.drain(taken, now)
	if d.N >= units {
		return State{N: units}
	}
	return d
}

// subtract returns the level minus part, at least 0.
func (c *Compiled) subtract(s, part State) State {
	s.N -= part.N
	s.M -= part.M
	if s.M < 0 {
		s.N--
		s.M += c.period
	}
	if s.N < 0 {
		s.N, s.M = 0, 0
	}
	return s
}
