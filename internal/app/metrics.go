package app

import (
	"ratelimiter/internal/allowance"
	"ratelimiter/internal/telemetry"
)

// metrics returns the metrics of the services.
func (s *services) metrics() *telemetry.Metrics {
	m := telemetry.New()
	addAllowances(m, "keys", s.keyAllowances)
	addAllowances(m, "checks", s.checkAllowances)
	return m
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
