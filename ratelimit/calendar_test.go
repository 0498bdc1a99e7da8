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

// TestPeriodBounds compares period bounds with instants confirmed by date and
// zdump.
func TestPeriodBounds(t *testing.T) {
	for _, c := range []struct {
		name             string
		period           Period
		zone             string
		anchor           int
		now, start, next string
	}{
		{"day_in_UTC", Day, "UTC", 0, "2024-03-10T12:00:00Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"first_instant_of_day", Day, "UTC", 0, "2024-03-10T00:00:00Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"last_instant_of_day", Day, "UTC", 0, "2024-03-10T23:59:59.999999999Z", "2024-03-10T00:00:00Z", "2024-03-11T00:00:00Z"},
		{"day_of_23_hours", Day, "Europe/Berlin", 0, "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"},
		{"day_of_25_hours", Day, "Europe/Berlin", 0, "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"},
		{"day_without_midnight", Day, "America/Sao_Paulo", 0, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"before_day_without_midnight", Day, "America/Sao_Paulo", 0, "2018-11-04T02:59:59Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"day_with_repeated_midnight", Day, "America/Havana", 0, "2024-11-03T12:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
		{"day_after_repeated_hour", Day, "America/St_Johns", 0, "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"repeated_hour_belongs_to_new_day", Day, "America/St_Johns", 0, "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"before_skipped_day", Day, "Pacific/Apia", 0, "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"after_skipped_day", Day, "Pacific/Apia", 0, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"last_day_of_leap_year", Day, "America/New_York", 0, "2024-12-31T12:00:00Z", "2024-12-31T05:00:00Z", "2025-01-01T05:00:00Z"},
		{"day_before_last_of_leap_year", Day, "America/New_York", 0, "2028-12-30T12:00:00Z", "2028-12-30T05:00:00Z", "2028-12-31T05:00:00Z"},
		{"first_day_after_leap_year", Day, "Australia/Sydney", 0, "2029-01-01T00:00:00Z", "2028-12-31T13:00:00Z", "2029-01-01T13:00:00Z"},
		{"month_at_end_of_leap_year", Month, "Europe/Berlin", 31, "2028-12-31T00:00:00Z", "2028-12-30T23:00:00Z", "2029-01-30T23:00:00Z"},
		{"week", Week, "UTC", 0, "2024-02-29T12:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"week_on_Monday", Week, "UTC", 0, "2024-02-26T00:00:00Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"week_on_Sunday", Week, "UTC", 0, "2024-03-03T23:59:59Z", "2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"},
		{"week_of_167_hours", Week, "America/New_York", 0, "2024-03-10T12:00:00Z", "2024-03-04T05:00:00Z", "2024-03-11T04:00:00Z"},
		{"week_before_1970", Week, "UTC", 0, "1969-12-28T12:00:00Z", "1969-12-22T00:00:00Z", "1969-12-29T00:00:00Z"},
		{"month", Month, "UTC", 0, "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"month_of_31_days", Month, "UTC", 0, "2023-01-31T00:00:00Z", "2023-01-01T00:00:00Z", "2023-02-01T00:00:00Z"},
		{"month_across_new_year", Month, "UTC", 15, "2024-01-14T23:59:59Z", "2023-12-15T00:00:00Z", "2024-01-15T00:00:00Z"},
		{"month_from_15th_in_Berlin", Month, "Europe/Berlin", 15, "2024-04-14T21:59:59Z", "2024-03-14T23:00:00Z", "2024-04-14T22:00:00Z"},
		{"anchor_31_in_leap_February", Month, "UTC", 31, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z"},
		{"day_before_anchor_31_in_leap_February", Month, "UTC", 31, "2024-02-28T23:59:59Z", "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"anchor_30_in_common_February", Month, "UTC", 30, "2023-02-28T00:00:00Z", "2023-02-28T00:00:00Z", "2023-03-30T00:00:00Z"},
		{"anchor_29_in_February_1900", Month, "UTC", 29, "1900-02-28T12:00:00Z", "1900-02-28T00:00:00Z", "1900-03-29T00:00:00Z"},
		{"anchor_31_in_April", Month, "UTC", 31, "2024-04-30T12:00:00Z", "2024-04-30T00:00:00Z", "2024-05-31T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustCompile(t, Policy{Algorithm: Calendar, Period: c.period, TimeZone: c.zone, AnchorDay: c.anchor})
			start, next := p.periodBounds(instant(t, c.now))
			if start != instant(t, c.start) || next != instant(t, c.next) {
				t.Errorf("bounds are %v and %v", time.Unix(0, start).UTC(), time.Unix(0, next).UTC())
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

// TestPeriodBounds_Contiguous checks over sixty years that each period begins
// where the previous one ends, and that instants in a period have its bounds.
func TestPeriodBounds_Contiguous(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "Africa/Cairo", "Asia/Tehran"} {
		for _, period := range []Period{Day, Week, Month} {
			p := mustCompile(t, Policy{Algorithm: Calendar, Period: period, TimeZone: zone})
			start, next := p.periodBounds(instant(t, "1970-06-01T00:00:00Z"))
			for next < instant(t, "2030-01-01T00:00:00Z") {
				for _, at := range []int64{start, start + (next-start)/2, next - 1} {
					if s, n := p.periodBounds(at); s != start || n != next {
						t.Fatalf("%s in %s: bounds of %v are %v and %v, want %v and %v", period, zone, time.Unix(0, at),
							time.Unix(0, s), time.Unix(0, n), time.Unix(0, start), time.Unix(0, next))
					}
				}
				from := next
				if start, next = p.periodBounds(from); start != from || next <= start {
					t.Fatalf("%s in %s: the period from %v has bounds %v and %v", period, zone, time.Unix(0, from), time.Unix(0, start), time.Unix(0, next))
				}
			}
		}
	}
}

// TestPeriodBounds_EndsOfLeapYears checks the days around them in every zone.
func TestPeriodBounds_EndsOfLeapYears(t *testing.T) {
	for zone := range zones().files {
		p := mustCompile(t, Policy{Algorithm: Calendar, Period: Day, TimeZone: zone})
		for year := 2012; year <= 2044; year += 4 { // all days have 24 hours
			_, next := p.periodBounds(time.Date(year, time.December, 28, 12, 0, 0, 0, time.UTC).UnixNano())
			for range 6 {
				start := next
				if _, next = p.periodBounds(start); next-start != int64(24*time.Hour) {
					t.Fatalf("the day in %s from %v ends at %v", zone, time.Unix(0, start).UTC(), time.Unix(0, next).UTC())
				}
			}
		}
	}
}
