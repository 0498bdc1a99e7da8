package middleware

import (
	"strconv"

	"ratelimiter/ratelimit"
)

// Fields says which header fields tell a caller where it stands.
type Fields string

// The choices: those of draft-ietf-httpapi-ratelimit-headers-11, the
// X-RateLimit-* that came before them, or both.
const (
	FieldsDraft11 Fields = "draft11"
	FieldsLegacy  Fields = "legacy"
	FieldsBoth    Fields = "both"
)

// setDraftFields sets RateLimit-Policy and RateLimit, if a policy applies.
func (e *exchange) setDraftFields() {
	policy := e.quota.PolicyFieldValues(e.group)
	if len(policy) == 0 {
		return
	}
	header := e.Header()
	header[ratelimit.HeaderRateLimitPolicy] = policy
	var buffer [256]byte
	e.rateLimitField[0] = string(e.reservation.Decision.AppendField(buffer[:0]))
	header[ratelimit.HeaderRateLimit] = e.rateLimitField[:]
}

// setLegacyFields sets X-RateLimit-Limit, -Remaining and -Reset (seconds from
// now) of the policy with the least left in proportion, if one applies.
func (e *exchange) setLegacyFields() {
	limit, remaining, reset, ok := e.reservation.Decision.Legacy()
	if !ok {
		return
	}
	header := e.Header()
	header[ratelimit.HeaderLegacyLimit] = []string{strconv.FormatInt(limit, 10)}
	header[ratelimit.HeaderLegacyRemaining] = []string{strconv.FormatInt(remaining, 10)}
	header[ratelimit.HeaderLegacyReset] = []string{strconv.FormatInt(reset, 10)}
}
