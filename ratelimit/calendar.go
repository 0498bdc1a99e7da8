package ratelimit

import (
	"math"
	"time"
)

// calendar counts in periods of the calendar: days, weeks from Monday (ISO
// 8601), or months that begin on an anchor day, each from the first instant
// of its first day in the policy's time zone. A day has 23 or 25 hours when
// the clocks change, and a month is never "30 days".
//
// limit 10,000, period month, time_zone Europe/Berlin, anchor_day 31:
//
//	time (Berlin)        period                           used before  verdict
//	2024-02-29 00:00     2024-02-29 … 2024-03-31 00:00             0   admitted
//	2024-03-30 23:59     2024-02-29 … 2024-03-31 00:00         9,999   admitted
//	2024-03-31 00:00     2024-03-31 … 2024-04-30 00:00             0   admitted
//	2024-04-30 00:00     2024-04-30 … 2024-05-31 00:00             –   31 clamped to 30
//
// State: At is the period's first instant, N the units used in it, M its end.
// What is given back goes to the period that was charged; once that has
// ended, nowhere. A forgotten reservation stays spent until the period ends.
func takeCalendar(c *Compiled, s State, now, cost int64) (State, bool) {
	s = enterCalendar(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.N {
		return s, false
	}
	s.N += cost
	return s, true
}

// enterCalendar finds the period of now; the state remembers its bounds, so
// that the calendar is asked once a period. A late caller counts in the
// period that has since begun; after a clock set back, what was spent is kept.
func enterCalendar(c *Compiled, s State, now int64) State {
	s.N = clamp(s.N, 0, MaxLimit)
	ahead := satSub(s.At, now)
	if ahead <= 0 && now < s.M || ahead > 0 && ahead <= skew && s.At < s.M {
		return s
	}
	start, end := c.span(now)
	if ahead > 0 {
		return State{At: start, N: s.N, M: end}
	}
	return State{At: start, M: end}
}

func giveCalendar(c *Compiled, s, taken State, now, units int64) State {
	s = enterCalendar(c, s, now)
	if s.At == taken.At {
		s.N = max(0, s.N-units)
	}
	return s
}

func statusCalendar(c *Compiled, s State, now, cost int64, st *Status) {
	windowStatus(c, s.N, satSub(s.M, now), cost, st)
}

// calendarMargin keeps a period's bounds inside an int64 of nanoseconds, which
// ends in the year 2262.
const calendarMargin = int64(400 * 24 * time.Hour)

// span is the calendar period that holds now: its first instant and the next
// period's.
func (c *Compiled) span(now int64) (start, end int64) {
	now = clamp(now, math.MinInt64+calendarMargin, math.MaxInt64-calendarMargin)
	local := time.Unix(0, now).In(c.zone)
	// The local date names the period, except where the clocks go back over
	// midnight: there the same date comes twice, and its first coming counts.
	k := c.periodOf(local)
	for start, end = c.startOf(k), c.startOf(k+1); end <= now; k++ {
		start, end = end, c.startOf(k+2)
	}
	return start, end
}

// periodOf numbers the period of a local date: days and weeks since the Unix
// epoch's, months since year 0.
func (c *Compiled) periodOf(local time.Time) int {
	year, month, day := local.Date()
	days := int(floorTo(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), 86400) / 86400)
	switch c.Period {
	case Day:
		return days
	case Week:
		// The epoch was a Thursday, three days after a Monday.
		return int(floorTo(int64(days+3), 7) / 7)
	default:
		k := year*12 + int(month) - 1
		if day < c.anchorIn(k) {
			k--
		}
		return k
	}
}

// startOf is the first instant of the k-th period.
func (c *Compiled) startOf(k int) int64 {
	switch c.Period {
	case Day:
		return firstInstant(1970, time.January, 1+k, c.zone)
	case Week:
		return firstInstant(1970, time.January, 1+k*7-3, c.zone)
	default:
		return firstInstant(k/12, time.Month(k%12+1), c.anchorIn(k), c.zone)
	}
}

// anchorIn is the anchor day in month k, or that month's last day.
func (c *Compiled) anchorIn(k int) int {
	last := time.Date(k/12, time.Month(k%12+2), 0, 0, 0, 0, 0, time.UTC).Day()
	return min(c.anchorDay, last)
}

// firstInstant is the first instant of a local date, also where its midnight
// doesn't exist or comes twice, or the zone has left out the whole day.
func firstInstant(year int, month time.Month, day int, zone *time.Location) int64 {
	midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	// Local time differs from UTC by less than a day: begin before it, and
	// go through the zone's offsets until one reaches the date.
	t := midnight.Add(-24 * time.Hour)
	for {
		_, offset := t.In(zone).Zone()
		_, change := t.In(zone).ZoneBounds()
		if at := midnight.Add(-time.Duration(offset) * time.Second); at.After(t) {
			t = at
		}
		if change.IsZero() || t.Before(change) {
			return t.UnixNano()
		}
		t = change
	}
}
