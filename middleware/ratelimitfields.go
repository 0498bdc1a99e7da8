package middleware

import (
	"strconv"

	"ratelimiter/ratelimit"
)

// Fields selects the header fields that report limits.
type Fields string

// The choices: the fields of draft-ietf-httpapi-ratelimit-headers-11, the older
// X-RateLimit-* fields, or both.
const (
	FieldsDraft11 Fields = "draft11"
	FieldsLegacy  Fields = "legacy"
	FieldsBoth    Fields = "both"
)

// setDraftFields sets RateLimit-Policy and RateLimit, if a policy applies.
func (s *requestState) setDraftFields() {
	policy := s.request.Quota.PolicyFieldValues(string(s.route.Group))
	if len(policy) == 0 {
		return
	}
	header := s.Header()
	header[ratelimit.HeaderRateLimitPolicy] = policy
	s.fieldBuffer = s.reservation.Decision.AppendField(s.fieldBuffer[:0])
	s.rateLimitField[0] = string(s.fieldBuffer)
	header[ratelimit.HeaderRateLimit] = s.rateLimitField[:]
}

// setLegacyFields sets X-RateLimit-Limit, -Remaining and -Reset (seconds from
// now) of the policy with the smallest remaining fraction, if one applies.
func (s *requestState) setLegacyFields() {
	limit, remaining, reset, ok := s.reservation.Decision.Legacy()
	if !ok {
		return
	}
	header := s.Header()
	header[ratelimit.HeaderLegacyLimit] = []string{strconv.FormatInt(limit, 10)}
	header[ratelimit.HeaderLegacyRemaining] = []string{strconv.FormatInt(remaining, 10)}
	header[ratelimit.HeaderLegacyReset] = []string{strconv.FormatInt(reset, 10)}
}
