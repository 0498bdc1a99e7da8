package ratelimit

import (
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

// appendUint is strconv.AppendUint, quicker for the small numbers that stand
// in most fields.
func appendUint(dst []byte, n uint64) []byte {
	if n >= 10_000 {
		return strconv.AppendUint(dst, n, 10)
	}
	switch {
	case n >= 1000:
		dst = append(dst, byte('0'+n/1000))
		fallthrough
	case n >= 100:
		dst = append(dst, byte('0'+n/100%10))
		fallthrough
	case n >= 10:
		dst = append(dst, byte('0'+n/10%10))
	}
	return append(dst, byte('0'+n%10))
}
