package client

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-11.
const (
	fieldRateLimit       = "RateLimit"
	fieldRateLimitPolicy = "RateLimit-Policy"
	fieldRetryAfter      = "Retry-After"
)

// limitsOf reads an answer's RateLimit field: by policy, what remains and when
// it resets. What can't be read is left out, for it is advice.
func limitsOf(header http.Header) map[string]observation {
	list, err := httpsfv.UnmarshalList(header.Values(fieldRateLimit))
	if err != nil {
		return nil
	}
	seen := make(map[string]observation, len(list))
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		name, ok := item.Value.(string)
		remaining, there := item.Params.Get("r")
		units, whole := remaining.(int64)
		if !ok || !there || !whole {
			continue
		}
		o := observation{remaining: max(units, 0), resetMax: never}
		if reset, there := item.Params.Get("t"); there {
			if seconds, whole := reset.(int64); whole && seconds >= 0 && seconds < int64(never/time.Second) {
				// Rounded up to whole seconds.
				o.resetMax = time.Duration(seconds) * time.Second
				o.resetMin = max(0, o.resetMax-time.Second)
			}
		}
		seen[name] = o
	}
	return seen
}

// retryAfter reads the field of that name, which is in seconds or a date.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	text := header.Get(fieldRetryAfter)
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second), true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
