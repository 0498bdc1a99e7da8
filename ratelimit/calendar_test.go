package ratelimit

import (
	"testing"
	"time"
)

func mustCompile(t testing.TB, p Policy) *Compiled {
	t.Helper()
	p.Name = "p"
	if p.Limit == 0 {
		p.Limit = 10
	}
	if err := Validate([]Policy{p}); err != nil {
		t.Fatal(err)
	}
	c, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCalendarSpans: each period's bounds, by instants that other programs
// (date, zdump) agree with.
func TestCalendarSpans(t *testing.T) {
	for _, c := range []struct {
		why              string
		period           Period
		zone             string
		anchor           int
		now, start, next string
	}{
		{"a day in UTC", Day, "UTC", 0, "2024-03-10T12:00:00Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"its first instant", Day, "UTC", 0, "2024-03-10T00:00:00Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"its last", Day, "UTC", 0, "2024-03-10T23:59:59.999999999Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"a day of 23 hours", Day, "Europe/Berlin", 0, "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"},
		{"a day of 25 hours", Day, "Europe/Berlin", 0, "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"},
		{"a day whose midnight doesn't exist", Day, "America/Sao_Paulo", 0, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"the day before it", Day, "America/Sao_Paulo", 0, "2018-11-04T02:59:59Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"a day whose midnight comes twice", Day, "America/Havana", 0, "2024-11-03T12:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
		{"a day that ends twice", Day, "America/St_Johns", 0, "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"back on the day before, by the clock", Day, "America/St_Johns", 0, "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"before a day that was left out", Day, "Pacific/Apia", 0, "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"after it", Day, "Pacific/Apia", 0, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"a week from Monday", Week, "UTC", 0, "2024-02-29T12:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"on a Monday", Week, "UTC", 0, "2024-02-26T00:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"on a Sunday", Week, "UTC", 0, "2024-03-03T23:59:59Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"a week of 167 hours", Week, "America/New_York", 0, "2024-03-10T12:00:00Z", "2024-03-04T05:00:00Z", "2024-03-11T04:00:00Z"},
		{"before 1970", Week, "UTC", 0, "1969-12-28T12:00:00Z", "1969-12-22T00:00:00Z", "1969-12-29T00:00:00Z"},
		{"a month", Month, "UTC", 0, "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"a month is not 30 days", Month, "UTC", 0, "2023-01-31T00:00:00Z", "2023-01-01T00:00:00Z", "2023-02-01T00:00:00Z"},
		{"over the new year", Month, "UTC", 15, "2024-01-14T23:59:59Z", "2023-12-15T00:00:00Z", "2024-01-15T00:00:00Z"},
		{"from the 15th in Berlin", Month, "Europe/Berlin", 15, "2024-04-14T21:59:59Z", "2024-03-14T23:00:00Z", "2024-04-14T22:00:00Z"},
		{"the 31st in a leap year's February", Month, "UTC", 31, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z"},
		{"the day before it", Month, "UTC", 31, "2024-02-28T23:59:59Z", "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"the 30th in a common February", Month, "UTC", 30, "2023-02-28T00:00:00Z", "2023-02-28T00:00:00Z", "2023-03-30T00:00:00Z"},
		{"the 29th in 1900's, no leap year", Month, "UTC", 29, "1900-02-28T12:00:00Z", "1900-02-28T00:00:00Z", "1900-03-29T00:00:00Z"},
		{"the 31st in April", Month, "UTC", 31, "2024-04-30T12:00:00Z", "2024-04-30T00:00:00Z", "2024-05-31T00:00:00Z"},
	} {
		t.Run(c.why, func(t *testing.T) {
			p := mustCompile(t, Policy{Algorithm: Calendar, Period: c.period, TimeZone: c.zone, AnchorDay: c.anchor})
			start, next := p.span(instant(t, c.now))
			if start != instant(t, c.start) || next != instant(t, c.next) {
				t.Errorf("from %v to %v", time.Unix(0, start).UTC(), time.Unix(0, next).UTC())
			}
		})
	}
}

func instant(t *testing.T, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixNano()
}

// TestCalendarSpansJoin walks through sixty years of periods: each begins
// where the one before has ended, and every instant in it finds it.
func TestCalendarSpansJoin(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "Africa/Cairo", "Asia/Tehran"} {
		for _, period := range []Period{Day, Week, Month} {
			p := mustCompile(t, Policy{Algorithm: Calendar, Period: period, TimeZone: zone})
			start, next := p.span(instant(t, "1970-06-01T00:00:00Z"))
			for next < instant(t, "2030-01-01T00:00:00Z") {
				for _, at := range []int64{start, start + (next-start)/2, next - 1} {
					if s, n := p.span(at); s != start || n != next {
						t.Fatalf("%s in %s: %v is in %v to %v, not %v to %v", period, zone, time.Unix(0, at),
							time.Unix(0, s), time.Unix(0, n), time.Unix(0, start), time.Unix(0, next))
					}
				}
				from := next
				if start, next = p.span(from); start != from || next <= start {
					t.Fatalf("%s in %s: after %v comes %v to %v", period, zone, time.Unix(0, from), time.Unix(0, start), time.Unix(0, next))
				}
			}
		}
	}
}
