package ratelimit

import (
	"math"
	"time"
)

// takeCalendar counts in calendar periods: days, weeks from Monday (ISO 8601),
// or months that begin on an anchor day. A period begins at the first instant of
// its first day in the policy's time zone. Days on which the clocks change have
// 23 or 25 hours, and months have their real length.
//
// limit 10,000, period month, time_zone Europe/Berlin, anchor_day 31:
//
//	time (Berlin)        period                           used before  verdict
//	2024-02-29 00:00     2024-02-29 … 2024-03-31 00:00             0   admitted
//	2024-03-30 23:59     2024-02-29 … 2024-03-31 00:00         9,999   admitted
//	2024-03-31 00:00     2024-03-31 … 2024-04-30 00:00             0   admitted
//	2024-04-30 00:00     2024-04-30 … 2024-05-31 00:00             –   31 clamped to 30
//
// State: At is the start of the period, N the units used in it, M its end, X the
// units that are leased and not spent; see TakeLeased. Units are given back to
// the period that was charged, and lost once it has ended. An abandoned
// reservation stays spent until the period ends.
func takeCalendar(c *Compiled, s State, now, cost int64) (State, bool) {
	s = advanceCalendar(c, s, now)
	if cost < 0 || cost > 0 && cost > c.capacity-s.used() {
		return s, false
	}
	s.N += cost
	s.X -= cost
	return s, true
}

// periodEnd is the end of the current calendar period. Storing it saves a
// calendar computation per request.
func (s State) periodEnd() int64 { return s.M }

// advanceCalendar moves the state to the period of now. A late caller uses the
// period that has begun since. If the clock was set back, the units used are
// kept.
func advanceCalendar(c *Compiled, s State, now int64) State {
	s.N, s.X = clamp(s.used(), 0, MaxLimit), clamp(s.leased(), -MaxLimit, MaxLimit)
	if s.periodContains(now) {
		return s
	}
	start, end := c.periodBounds(now)
	if s.windowStart() > now {
		return State{At: start, N: s.used(), M: end}
	}
	return State{At: start, M: end}
}

// periodContains reports whether the state's period is that of now, or has begun
// after a late caller read its clock.
func (s State) periodContains(now int64) bool {
	ahead := satSub(s.windowStart(), now)
	return ahead <= 0 && now < s.periodEnd() || ahead > 0 && ahead <= skew && s.windowStart() < s.periodEnd()
}

func giveCalendar(c *Compiled, s, taken State, now, units int64) State {
	s = advanceCalendar(c, s, now)
	if s.windowStart() == taken.windowStart() {
		s.N = max(0, s.used()-units)
		s.X += units
	}
	return s
}

func statusCalendar(c *Compiled, s State, now, cost int64, st *Status) {
	windowStatus(c, s.used(), satSub(s.periodEnd(), now), cost, st)
}

// calendarMargin is more than the longest period. It keeps period bounds within
// an int64 of nanoseconds, which ends in the year 2262.
const calendarMargin = int64(400 * 24 * time.Hour)

// periodBounds returns the start of the calendar period that contains now and
// the start of the next one.
func (c *Compiled) periodBounds(now int64) (start, end int64) {
	now = clamp(now, math.MinInt64+calendarMargin, math.MaxInt64-calendarMargin)
	local := time.Unix(0, now).In(c.zone)
	// The local date determines the period, except where clocks are set back
	// across midnight: the date occurs twice and its first occurrence begins the
	// period.
	k := c.periodIndex(local)
	for start, end = c.periodStart(k), c.periodStart(k+1); end <= now; k++ {
		start, end = end, c.periodStart(k+2)
	}
	return start, end
}

// periodIndex numbers the period of a local date: days and weeks since the one
// of the Unix epoch, months since year 0.
func (c *Compiled) periodIndex(local time.Time) int {
	year, month, day := local.Date()
	days := int(floorTo(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), 86400) / 86400)
	switch c.Period {
	case Day:
		return days
	case Week:
		// The Unix epoch is a Thursday, three days after a Monday.
		return int(floorTo(int64(days+3), 7) / 7)
	default:
		k := year*12 + int(month) - 1
		if day < c.anchorDayIn(k) {
			k--
		}
		return k
	}
}

// periodStart returns the first instant of the period with index k.
func (c *Compiled) periodStart(k int) int64 {
	switch c.Period {
	case Day:
		return startOfDay(1970, time.January, 1+k, c.zone)
	case Week:
		return startOfDay(1970, time.January, 1+k*7-3, c.zone)
	default:
		return startOfDay(k/12, time.Month(k%12+1), c.anchorDayIn(k), c.zone)
	}
}

// anchorDayIn returns the anchor day of month k, at most its last day.
func (c *Compiled) anchorDayIn(k int) int {
	last := time.Date(k/12, time.Month(k%12+2), 0, 0, 0, 0, 0, time.UTC).Day()
	return min(c.anchorDay, last)
}

// startOfDay returns the first instant of a local date. It handles zone changes
// that skip or repeat midnight, or that skip the whole day.
func startOfDay(year int, month time.Month, day int, zone *time.Location) int64 {
	midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	// Local time differs from UTC by less than a day: start one day earlier
	// and step through the zone's offsets until one reaches the date.
	t := midnight.Add(-24 * time.Hour)
	for {
		_, offset := t.In(zone).Zone()
		change := nextChange(t, zone)
		if at := midnight.Add(-time.Duration(offset) * time.Second); at.After(t) {
			t = at
		}
		if change.IsZero() || t.Before(change) {
			return t.UnixNano()
		}
		t = change
	}
}

// nextChange returns an instant after t up to which the zone's offset is that of
// t; zero if it never changes again. On the last day of a leap year, where the
// offset follows a yearly rule, ZoneBounds returns the beginning of that day (UTC),
// which isn't after t. No rule changes the offset on that day or the next.
func nextChange(t time.Time, zone *time.Location) time.Time {
	_, change := t.In(zone).ZoneBounds()
	if !change.IsZero() && !change.After(t) {
		return t.Add(24 * time.Hour)
	}
	return change
}
