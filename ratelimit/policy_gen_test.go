package ratelimit_test

import (
	"time"

	"pgregory.net/rapid"

	"ratelimiter/ratelimit"
)

// validPolicy draws a policy that Validate accepts. It prefers small numbers and
// the bounds.
func validPolicy() *rapid.Generator[ratelimit.Policy] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Policy {
		p := ratelimit.Policy{
			Name: rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,31}`).Draw(t, "name"),
			Algorithm: rapid.SampledFrom([]ratelimit.Algorithm{
				ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow,
				ratelimit.SlidingLog, ratelimit.Calendar, ratelimit.Concurrency,
			}).Draw(t, "algorithm"),
			Limit: anyOf(t, "limit", 1, ratelimit.MaxLimit),
			Mode:  rapid.SampledFrom([]ratelimit.Mode{"", ratelimit.Enforce, ratelimit.Enforce, ratelimit.Shadow}).Draw(t, "mode"),
			Per:   rapid.SampledFrom([]ratelimit.Per{"", ratelimit.PerKey, ratelimit.PerOwner}).Draw(t, "per"),
		}
		switch p.Algorithm {
		case ratelimit.Calendar:
			p.Period = rapid.SampledFrom([]ratelimit.Period{ratelimit.Day, ratelimit.Week, ratelimit.Month}).Draw(t, "period")
			p.TimeZone = rapid.SampledFrom(zones).Draw(t, "zone")
			if p.Period == ratelimit.Month {
				p.AnchorDay = rapid.IntRange(0, 31).Draw(t, "anchor")
			}
			return p
		case ratelimit.Concurrency:
			p.Hold = anyPeriod(t, "hold")
			return p
		case ratelimit.SlidingLog:
			p.Limit = min(p.Limit, ratelimit.MaxLogLimit)
		case ratelimit.LeakyBucket:
			p.MaxWait = anyPeriod(t, "max_wait")
		default:
		}
		p.Period = anyPeriod(t, "period")
		d, _ := p.Period.Duration()
		p.Limit = min(p.Limit, d.Microseconds())
		if p.Algorithm == ratelimit.TokenBucket {
			p.Burst = anyOf(t, "burst", 1, ratelimit.MaxLimit)
			if ratelimit.Validate([]ratelimit.Policy{p}) != nil {
				p.Burst = 0
			}
		}
		return p
	})
}

var zones = []string{
	"", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo",
	"Asia/Beirut", "Africa/Cairo", "Pacific/Apia", "America/Havana", "America/St_Johns", "Asia/Tehran", "Pacific/Kiritimati",
}

func anyOf(t *rapid.T, name string, low, high int64) int64 {
	return rapid.OneOf(rapid.Int64Range(low, min(high, 20)), rapid.Int64Range(low, high), rapid.SampledFrom([]int64{low, high})).Draw(t, name)
}

func anyPeriod(t *rapid.T, name string) ratelimit.Period {
	ms := anyOf(t, name, 1, int64(366*24*time.Hour/time.Millisecond))
	return ratelimit.Every(time.Duration(ms) * time.Millisecond)
}
