package ratelimit

import (
	"math"
	"math/bits"
)

// never is the instant that doesn't come.
const never = math.MaxInt64

// satAdd is a+b, held at the ends of int64 instead of wrapping.
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

// satSub is a-b, held at the ends of int64 instead of wrapping.
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

// mulDiv is a×b ÷ c as quotient and rest, exact over 128 bits. All three must
// be non-negative and c positive; ok is false when the quotient needs more
// than 63 bits.
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

// mulDivUp is a×b ÷ c rounded up, held at never when it doesn't fit.
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

// floorTo is the last multiple of step at or before t, also for negative t;
// it is held at the first multiple that an int64 can hold.
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

// clamp holds v between low and high.
func clamp(v, low, high int64) int64 { return max(low, min(v, high)) }
