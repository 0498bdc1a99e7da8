package handlers

import (
	"time"

	"ratelimiter/ratelimit"
)

// limitStatus is where one policy's counter stands: the Limits shape. Times are
// in seconds.
type limitStatus struct {
	Policy     string   `json:"policy" example:"burst"`
	Algorithm  string   `json:"algorithm" example:"token_bucket"`
	Limit      int64    `json:"limit" example:"20"`        // the capacity, in units
	Remaining  int64    `json:"remaining" example:"19"`    // units that can be spent now
	ResetAfter float64  `json:"reset_after" example:"0.1"` // until it is full, or its window ends
	RetryAfter *float64 `json:"retry_after" example:"0"`   // until this cost would pass; null where it never can
	Mode       string   `json:"mode" enums:"enforce,shadow" example:"enforce"`
	Charge     string   `json:"charge" enums:"requests,successes" example:"requests"`
}

// limitStatuses encodes the enforced policies of a decision.
func limitStatuses(statuses []ratelimit.Status) []limitStatus {
	out := make([]limitStatus, len(statuses))
	for i, s := range statuses {
		out[i] = limitStatus{
			Policy: s.Policy.Name, Algorithm: string(s.Policy.Algorithm), Limit: s.Limit, Remaining: s.Remaining,
			ResetAfter: s.ResetAfter.Seconds(), RetryAfter: seconds(s.RetryAfter),
			Mode: string(s.Policy.Mode), Charge: string(s.Policy.Charge),
		}
	}
	return out
}

// seconds returns d in seconds; nil for never.
func seconds(d time.Duration) *float64 {
	if d == ratelimit.Never {
		return nil
	}
	s := d.Seconds()
	return &s
}
