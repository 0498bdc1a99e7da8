package client

import (
	"math"
	"math/bits"
	"time"
)

// never is later than any instant that counts.
const never = time.Duration(math.MaxInt64 / 4)

// scale is a×b ÷ c rounded down, and whether something was cut off. All are not
// negative and c is positive; what doesn't fit is held at never.
func scale(a, b, c int64) (quotient int64, rest bool) {
	hi, lo := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	if hi >= uint64(c) {
		return int64(never), false
	}
	q, r := bits.Div64(hi, lo, uint64(c))
	if q >= uint64(never) {
		return int64(never), false
	}
	return int64(q), r > 0
}

// scaleUp is scale rounded up.
func scaleUp(a, b, c int64) int64 {
	q, rest := scale(a, b, c)
	if rest {
		q++
	}
	return q
}

// instant is a moment of the client's clock: the time since the transport was
// made. It is apart from the wall clock, which may be set.
type instant = time.Duration
