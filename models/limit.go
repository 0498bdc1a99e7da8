package models

import (
	"errors"
	"fmt"
	"time"

	"ratelimiter/ratelimit"
)

// Limit is the state of one policy's counter. Times are in seconds.
type Limit struct {
	Policy     string              `json:"policy" example:"minute"`                // name of the policy
	Algorithm  ratelimit.Algorithm `json:"algorithm" example:"sliding_window"`     // algorithm that counts the units
	Limit      int64               `json:"limit" minimum:"1" example:"300"`        // capacity, in units
	Remaining  int64               `json:"remaining" minimum:"0" example:"299"`    // units that can be spent now
	ResetAfter float64             `json:"reset_after" minimum:"0" example:"59.5"` // time until the counter is full, or its window ends
	RetryAfter *float64            `json:"retry_after" minimum:"0" example:"0"`    // time until the cost of this request, or one unit, would pass; null if it never can
	Mode       ratelimit.Mode      `json:"mode" example:"enforce"`                 // enforcement mode of the policy
	Charge     ratelimit.Charge    `json:"charge" example:"requests"`              // outcomes that are charged
}

// LimitsOf returns the states of policies as the API shows them.
func LimitsOf(statuses []ratelimit.Status) []Limit {
	limits := make([]Limit, len(statuses))
	for i, s := range statuses {
		limits[i] = Limit{
			Policy: s.Policy.Name, Algorithm: s.Policy.Algorithm, Limit: s.Limit, Remaining: s.Remaining,
			ResetAfter: Seconds(s.ResetAfter), RetryAfter: SecondsOrNever(s.RetryAfter),
			Mode: s.Policy.Mode, Charge: s.Policy.Charge,
		}
	}
	return limits
}

// Seconds returns d in seconds, rounded up to a millisecond.
func Seconds(d time.Duration) float64 {
	return float64((d+time.Millisecond-1)/time.Millisecond) / 1000
}

// SecondsOrNever returns d in seconds, rounded up to a millisecond; nil for
// [ratelimit.Never].
func SecondsOrNever(d time.Duration) *float64 {
	if d == ratelimit.Never {
		return nil
	}
	s := Seconds(d)
	return &s
}

// errNoQuota is the error of a request whose calendar quota can't be decided.
var errNoQuota = &Error{
	Kind: KindUnavailable, Code: "quota_unavailable",
	Message: "A calendar quota is counted in the database, which is unavailable, and no units of it are at hand. Retry later.",
}

// LimiterFailed returns the domain error of a limiter's error.
func LimiterFailed(err error) error {
	if errors.Is(err, ratelimit.ErrNoLease) {
		return fmt.Errorf("%w: %w", errNoQuota, err)
	}
	return fmt.Errorf("%w: limiter: %w", ErrUnavailable, err)
}
