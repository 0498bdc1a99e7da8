package ratelimit

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Header fields of draft-ietf-httpapi-ratelimit-headers-11 and the legacy
// X-RateLimit fields, in the canonical form of net/http, so that they can be
// used as keys of an http.Header.
const (
	HeaderRateLimit       = "Ratelimit"
	HeaderRateLimitPolicy = "Ratelimit-Policy"
	HeaderLegacyLimit     = "X-Ratelimit-Limit"
	HeaderLegacyRemaining = "X-Ratelimit-Remaining"
	HeaderLegacyReset     = "X-Ratelimit-Reset"
)

// PolicyField returns the RateLimit-Policy field of a group, a structured field
// (RFC 9651): `"burst";q=20;w=2, "minute";q=300;w=60`. q is the capacity in
// units, w the time in which it is restored, in seconds rounded up. The result
// is "" if no enforced policy applies.
func (q *Quota) PolicyField(group string) string {
	return strings.Join(q.view(group).field, "")
}

// PolicyFieldValues is PolicyField as a value of an http.Header. The slice is
// shared and must not be modified. It is nil if no enforced policy applies.
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

// window returns the time in which the capacity is restored.
func (c *Compiled) window() time.Duration {
	if c.Algorithm == TokenBucket {
		return time.Duration(mulDivUp(c.capacity, c.period, c.limit))
	}
	return time.Duration(c.period)
}

// AppendField appends the RateLimit field to dst and returns the result:
// `"burst";r=19;t=1, "minute";r=299;t=60`. r is Remaining in units, t is
// EffectiveWindow in seconds rounded up. It appends nothing if no enforced policy
// applies.
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
			dst = appendUint(dst, uint64(wholeSeconds(s.EffectiveWindow)))
		}
	}
	return dst
}

// Legacy returns the values of the X-RateLimit fields: Limit and Remaining of
// the tightest policy in units, and its ResetAfter in seconds rounded up. ok is
// false if no enforced policy applies.
func (d *Decision) Legacy() (limit, remaining, reset int64, ok bool) {
	s := d.Tightest()
	if s == nil {
		return 0, 0, 0, false
	}
	return s.Limit, s.Remaining, wholeSeconds(s.ResetAfter), true
}

// maxJitter bounds the jitter of a Retry-After field, in seconds.
const maxJitter = 60

// RetryAfterSeconds returns the value of a Retry-After field: after in seconds
// rounded up, plus up to 10 % jitter, at most a minute, taken from random, so that
// clients refused together don't retry together.
func RetryAfterSeconds(after time.Duration, random uint64) int64 {
	s := wholeSeconds(after)
	return s + int64(random%uint64(min(s/10, maxJitter)+1))
}

// wholeSeconds returns d in seconds rounded up, at least 0.
func wholeSeconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// appendUint is strconv.AppendUint without its intermediate buffer. Copying
// from that buffer takes 10 % of the time of a decision with six numbers.
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
	zeros = "00000000000000000000" // 20, the digits of the largest uint64
	pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
)

// digits returns the number of decimal digits of n. 1233/4096 approximates
// log10 of 2 from above (Hacker's Delight, section 11-4).
func digits(n uint64) int {
	d := bits.Len64(n) * 1233 >> 12
	if n >= powers[d] {
		d++
	}
	return d
}

// powers are the powers of ten that fit into 64 bits.
var powers = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}
