package ratelimit

import "math/bits"

// The two buckets keep a level: units that were spent and have not drained
// yet. In their State,
//
//	At  is when the level was last brought up to date,
//	N   is its whole units,
//	M   is the rest, in 1/period of a unit (the period in nanoseconds).
//
// In d nanoseconds a level drains by d × limit ÷ period units, and that is a
// whole number of 1/period units: nothing is ever rounded, so a bucket never
// admits a unit too many, nor one too few, at any rate. The level is in units
// and not in time, so it outlives a change of limit or burst unchanged.
//
// This is the continuous-state form of the generic cell rate algorithm (ITU-T
// I.371, annex A, "leaky bucket"); it admits exactly what the virtual
// scheduling form with a theoretical arrival time (TAT) admits, and the TAT is
// At + level × period ÷ limit.

// drain brings a level up to now. The result's At is now, or later by at most
// skew when this caller is late.
func (c *Compiled) drain(s State, now int64) State {
	if s.N < 0 || s.M < 0 || s.M >= c.period {
		s.N, s.M = max(s.N, 0), 0
	}
	if s.N >= c.most {
		s.N, s.M = c.most, 0
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
	s.N -= units
	s.M -= rest
	if s.M < 0 {
		s.N--
		s.M += c.period
	}
	return s
}

// level is the level in units, rounded up.
func (s State) level() int64 {
	if s.M > 0 {
		return s.N + 1
	}
	return s.N
}

// lessUnits is the level without units, not below empty.
func (s State) lessUnits(units int64) State {
	if units > s.N {
		s.N, s.M = 0, 0
		return s
	}
	s.N -= units
	return s
}

// drainTime is how long a level of n units and m ÷ period takes to drain, in
// nanoseconds rounded up; 0 when n is negative.
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

// undrained is how much of the newest units of a level, as a take left it,
// has not drained at now. That part is what can still be given back: the rest
// of it has been replenished by time, and to give it back would mint it.
func (c *Compiled) undrained(taken State, now, units int64) State {
	d := c.drain(taken, now)
	if d.N >= units {
		return State{N: units}
	}
	return d
}

// less is the level without the level of part, not below empty.
func (c *Compiled) less(s, part State) State {
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
