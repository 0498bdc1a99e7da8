package ratelimit

import (
	"strconv"
	"time"
)

// Period is a length of time in the notation of policies: an integer with ms, s,
// m, h or d ("250ms", "1m", "30d"), or for calendar policies Day, Week or Month.
type Period string

// Calendar periods.
const (
	Day   Period = "day"
	Week  Period = "week" // begins on Monday
	Month Period = "month"
)

// Bounds of a Period that is a duration.
const (
	minPeriod = time.Millisecond
	maxPeriod = 366 * 24 * time.Hour
)

// periodUnits is ordered from the largest unit to the smallest; Every uses the
// first that divides its duration.
var periodUnits = []struct {
	suffix string
	length time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// Every returns d as a Period, truncated to milliseconds. d must be at least a
// millisecond.
func Every(d time.Duration) Period {
	for _, u := range periodUnits {
		if d >= u.length && d%u.length == 0 {
			return Period(strconv.FormatInt(int64(d/u.length), 10) + u.suffix)
		}
	}
	return Period(strconv.FormatInt(d.Milliseconds(), 10) + "ms")
}

// Duration returns the length of p. ok is false if p is a calendar period, isn't
// a positive integer with a unit, or overflows time.Duration.
func (p Period) Duration() (d time.Duration, ok bool) {
	digits := 0
	for digits < len(p) && p[digits] >= '0' && p[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(string(p[:digits]), 10, 64)
	if err != nil || n <= 0 || p[0] == '0' {
		return 0, false
	}
	for _, u := range periodUnits {
		if string(p[digits:]) == u.suffix {
			d = time.Duration(n) * u.length
			return d, d/u.length == time.Duration(n)
		}
	}
	return 0, false
}

// calendar reports whether p is a calendar period.
func (p Period) calendar() bool { return p == Day || p == Week || p == Month }
