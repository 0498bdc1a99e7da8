package ratelimit

import (
	"strconv"
	"time"
)

// Period is a length of time as policies spell it: an integer with ms, s, m,
// h or d ("250ms", "1m", "30d"), or for calendar policies Day, Week or Month.
type Period string

// The calendar's periods.
const (
	Day   Period = "day"
	Week  Period = "week" // from Monday
	Month Period = "month"
)

// The bounds of a Period that is a duration.
const (
	minPeriod = time.Millisecond
	maxPeriod = 366 * 24 * time.Hour
)

// periodUnits is ordered so that Every finds the largest unit first.
var periodUnits = []struct {
	suffix string
	length time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// Every spells d, which must be a positive whole number of milliseconds, as a
// Period; anything finer is cut off.
func Every(d time.Duration) Period {
	for _, u := range periodUnits {
		if d >= u.length && d%u.length == 0 {
			return Period(strconv.FormatInt(int64(d/u.length), 10) + u.suffix)
		}
	}
	return Period(strconv.FormatInt(d.Milliseconds(), 10) + "ms")
}

// Duration is the length of p; ok is false for calendar periods and for
// anything that isn't a positive integer with a unit, or is longer than 2^63
// nanoseconds.
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

// calendar says whether p is one of the calendar's periods.
func (p Period) calendar() bool { return p == Day || p == Week || p == Month }
