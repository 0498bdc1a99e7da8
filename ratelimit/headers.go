package ratelimit

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// The header fields of draft-ietf-httpapi-ratelimit-headers-11 and the legacy
// ones, spelled as net/http keeps them, so that they can be set in an
// http.Header directly.
const (
	HeaderRateLimit       = "Ratelimit"
	HeaderRateLimitPolicy = "Ratelimit-Policy"
	HeaderLegacyLimit     = "X-Ratelimit-Limit"
	HeaderLegacyRemaining = "X-Ratelimit-Remaining"
	HeaderLegacyReset     = "X-Ratelimit-Reset"
)

// PolicyField is the RateLimit-Policy field of a group, a structured field
// (RFC 9651): `"burst";q=20;w=2, "minute";q=300;w=60`. q is the capacity and w
// the time in which it comes back, in whole seconds rounded up. It is "" when
// no enforced policy applies.
func (q *Quota) PolicyField(group string) string {
	if f := q.view(group).field; len(f) > 0 {
		return f[0]
	}
	return ""
}

// PolicyFieldValues is PolicyField as the value of an http.Header, ready made:
// it is shared and must not be changed. It is nil when no enforced policy
// applies.
func (q *Quota) PolicyFieldValues(group string) []string { return q.view(group).field }

func policyField(policies []*Compiled) string {
	var b strings.Builder
	for i, c := range policies {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(`"` + c.Name + `";q=` + strconv.FormatInt(c.capacity, 10))
		switch c.Algorithm {
		case Concurrency:
			b.WriteString(`;qu="concurrent-requests"`)
		case Calendar:
		default:
			b.WriteString(";w=" + strconv.FormatInt(wholeSeconds(c.window()), 10))
		}
	}
	return b.String()
}

// window is the time in which the capacity comes back.
func (c *Compiled) window() time.Duration {
	if c.Algorithm == TokenBucket {
		return time.Duration(mulDivUp(c.capacity, c.period, c.limit))
	}
	return time.Duration(c.period)
}

// AppendField appends the RateLimit field, `"burst";r=19;t=1, "minute";r=299;t=60`,
// with what remains and the whole seconds, rounded up, until the reset. It
// appends nothing when no enforced policy applies.
func (d *Decision) AppendField(dst []byte) []byte {
	for i := range d.Statuses() {
		s := &d.statuses[i]
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, s.Policy.field...)
		dst = appendUint(dst, uint64(s.Remaining))
		if s.Policy.kind != concurrency {
			dst = append(dst, ";t="...)
			dst = appendUint(dst, uint64(wholeSeconds(s.ResetAfter)))
		}
	}
	return dst
}

// Legacy is the three values of the X-RateLimit fields: of the tightest policy
// its capacity, what remains, and the whole seconds from now, rounded up, until
// the reset. ok is false when no enforced policy applies.
func (d *Decision) Legacy() (limit, remaining, reset int64, ok bool) {
	s := d.Tightest()
	if s == nil {
		return 0, 0, 0, false
	}
	return s.Limit, s.Remaining, wholeSeconds(s.ResetAfter), true
}

// RetryAfterSeconds is the value of a Retry-After field: after in whole
// seconds rounded up, and up to a tenth of them later, so that callers who
// were refused together don't return together. random is any number.
func RetryAfterSeconds(after time.Duration, random uint64) int64 {
	s := wholeSeconds(after)
	return s + int64(random%uint64(s/10+1))
}

// wholeSeconds rounds up; what is past is 0.
func wholeSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// appendUint is strconv.AppendUint, written in place: that one formats into a
// buffer of its own and copies, which in six numbers costs a tenth of a
// decision.
func appendUint(dst []byte, n uint64) []byte {
	if n < 10 {
		return append(dst, byte('0'+n))
	}
	start := len(dst)
	dst = append(dst, zeros[:digits(n)]...)
	at := len(dst)
	for n >= 100 {
		pair := n % 100 * 2
		n /= 100
		at -= 2
		dst[at], dst[at+1] = pairs[pair], pairs[pair+1]
	}
	if n >= 10 {
		dst[start], dst[start+1] = pairs[2*n], pairs[2*n+1]
	} else {
		dst[start] = byte('0' + n)
	}
	return dst
}

const (
	zeros = "00000000000000000000" // as many as the largest number has digits
	pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
)

// digits is how many decimal digits n has. The first line is log10 within one:
// 1233/4096 is a little more than log10 of 2 (Hacker's Delight, section 11-4).
func digits(n uint64) int {
	d := bits.Len64(n) * 1233 >> 12
	if n >= powers[d] {
		d++
	}
	return d
}

// powers are those of ten that fit into 64 bits.
var powers = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}
