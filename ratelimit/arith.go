package ratelimit

import (
	"math"
	"math/bits"
)

// never is later than every instant.
const never = math.MaxInt64

// satAdd returns a+b, saturated to int64.
func satAdd(a, b int64) int64 {
	s := a + b
	if (a^s)&(b^s) < 0 {
		if a < 0 {
			return math.MinInt64
		}
		return math.MaxInt64
	}
	return s
}

// satSub returns a-b, saturated to int64.
func satSub(a, b int64) int64 {
	d := a - b
	if (a^b)&(a^d) < 0 {
		if a < 0 {
			return math.MinInt64
		}
		return math.MaxInt64
	}
	return d
}

// mulDiv returns quotient and remainder of a×b ÷ c, computed in 128 bits. a and
// b must not be negative and c must be positive. ok is false if the quotient
// overflows int64.
func mulDiv(a, b, c int64) (quotient, rest int64, ok bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi == 0 {
		q := lo / uint64(c)
		return int64(q), int64(lo % uint64(c)), q <= math.MaxInt64
	}
	if hi >= uint64(c) {
		return 0, 0, false
	}
	q, r := bits.Div64(hi, lo, uint64(c))
	return int64(q), int64(r), q <= math.MaxInt64
}

// mulDivUp returns a×b ÷ c rounded up, saturated to never.
func mulDivUp(a, b, c int64) int64 {
	q, r, ok := mulDiv(a, b, c)
	if !ok {
		return never
	}
	if r > 0 {
		return satAdd(q, 1)
	}
	return q
}

// floorTo returns the largest multiple of step that is at most t, saturated to
// the smallest multiple in int64.
func floorTo(t, step int64) int64 {
	r := t % step
	if r == 0 {
		return t
	}
	if r > 0 {
		return t - r
	}
	if f := satSub(t-r, step); f != math.MinInt64 {
		return f
	}
	return t - r
}

// clamp returns v limited to the range from low to high.
func clamp(v, low, high int64) int64 { return max(low, min(v, high)) }
