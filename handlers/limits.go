package handlers

import (
	"time"

	"ratelimiter/ratelimit"
)

// Limit is where one policy's counter stands. Times are in seconds.
type Limit struct {
	Policy     string              `json:"policy" example:"minute"`                // the policy's name
	Algorithm  ratelimit.Algorithm `json:"algorithm" example:"sliding_window"`     // how it counts
	Limit      int64               `json:"limit" minimum:"1" example:"300"`        // the capacity, in units
	Remaining  int64               `json:"remaining" minimum:"0" example:"299"`    // units that can be spent now
	ResetAfter float64             `json:"reset_after" minimum:"0" example:"59.5"` // until it is full, or its window ends
	RetryAfter *float64            `json:"retry_after" minimum:"0" example:"0"`    // until this cost, or one unit, would pass; null where it never can
	Mode       ratelimit.Mode      `json:"mode" example:"enforce"`                 // whether it refuses
	Charge     ratelimit.Charge    `json:"charge" example:"requests"`              // which requests it counts
}

func showStatuses(statuses []ratelimit.Status) []Limit {
	shown := make([]Limit, len(statuses))
	for i, s := range statuses {
		shown[i] = Limit{
			Policy: s.Policy.Name, Algorithm: s.Policy.Algorithm, Limit: s.Limit, Remaining: s.Remaining,
			ResetAfter: s.ResetAfter.Seconds(), RetryAfter: seconds(s.RetryAfter),
			Mode: s.Policy.Mode, Charge: s.Policy.Charge,
		}
	}
	return shown
}

// seconds returns d in seconds; nil for never.
func seconds(d time.Duration) *float64 {
	if d == ratelimit.Never {
		return nil
	}
	s := d.Seconds()
	return &s
}
