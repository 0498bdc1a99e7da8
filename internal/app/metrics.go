package app

import (
	"ratelimiter/internal/allowance"
	"ratelimiter/internal/telemetry"
	"ratelimiter/ratelimit/fallback"
)

// metrics returns the metrics of the services.
func (s *services) metrics() *telemetry.Metrics {
	m, c := s.telemetry, s.counting
	addAllowances(m, "keys", c.keys.allowances)
	addAllowances(m, "checks", c.checks.allowances)
	if c.redis != nil {
		addFallback(m, "keys", c.keys.fallback)
		addFallback(m, "checks", c.checks.fallback)
		m.Gauge("instances", "Running instances that share the counters.", nil, func() float64 { return float64(c.instances.Count()) })
	}
	return m
}

// addFallback adds the metrics of decisions with and without Redis: those on keys,
// or on callers' own subjects.
func addFallback(m *telemetry.Metrics, of string, f *fallback.Store) {
	labels := telemetry.Labels{"of": of}
	m.Gauge("redis_up", "Whether decisions are made in Redis: 1, or 0 while this instance decides alone.", labels, func() float64 {
		if f.Figures().Down {
			return 0
		}
		return 1
	})
	for _, c := range []struct {
		name, help string
		of         func(fallback.Figures) int64
	}{
		{"outages", "How often Redis was lost.", func(f fallback.Figures) int64 { return f.Outages }},
		{"decisions_alone", "Decisions made without Redis.", func(f fallback.Figures) int64 { return f.Alone }},
		{"units_reported", "Units admitted without Redis that were charged to it later; others had been restored by time.", func(f fallback.Figures) int64 { return f.Reported }},
		{"units_dropped", "Units admitted without Redis that couldn't be charged to it later.", func(f fallback.Figures) int64 { return f.Dropped }},
		{"refunds_dropped", "Refunds that couldn't be made in Redis: their units stay spent.", func(f fallback.Figures) int64 { return f.LostGives }},
	} {
		m.Counter("redis_"+c.name+"_total", c.help, labels, func() float64 { return float64(c.of(f.Figures())) })
	}
	m.Gauge("redis_units_admitted_alone", "Units admitted without Redis since the start, and not given back.", labels,
		func() float64 { return float64(f.Figures().Admitted) })
	m.Gauge("redis_unreported_counters", "Counters with units that Redis doesn't know yet.", labels,
		func() float64 { return float64(f.Figures().Unreported) })
}

// addAllowances adds the metrics of calendar counters: those of keys, or of
// callers' own subjects.
func addAllowances(m *telemetry.Metrics, of string, a *allowance.Service) {
	labels := telemetry.Labels{"of": of}
	for _, c := range []struct {
		name, help string
		of         func(allowance.Stats) int64
	}{
		{"leased_units", "Units leased from Postgres.", func(s allowance.Stats) int64 { return s.Leased }},
		{"returned_units", "Leased units returned to Postgres.", func(s allowance.Stats) int64 { return s.Returned }},
		{"wasted_units", "Leased units that could neither be spent nor returned.", func(s allowance.Stats) int64 { return s.Wasted }},
		{"uncertain_units", "Units asked for by statements whose reply was lost: wasted if they took effect.", func(s allowance.Stats) int64 { return s.Uncertain }},
		{"statements", "Statements that lease, read or return units.", func(s allowance.Stats) int64 { return s.Statements }},
		{"rows", "Counters in these statements.", func(s allowance.Stats) int64 { return s.Rows }},
		{"failures", "Statements that failed.", func(s allowance.Stats) int64 { return s.Failures }},
	} {
		m.Counter("allowance_"+c.name+"_total", c.help, labels, func() float64 { return float64(c.of(a.Stats())) })
	}
	m.Gauge("allowance_open_units", "Leased units that aren't spent, as of the last idle check; a crash wastes them.", labels,
		func() float64 { return float64(a.Stats().Open) })
	m.Gauge("allowance_counters", "Calendar counters in use.", labels, func() float64 { return float64(a.Stats().Counters) })
}
