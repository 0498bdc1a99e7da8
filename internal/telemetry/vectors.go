package telemetry

import "github.com/prometheus/client_golang/prometheus"

// CounterVector counts by labels.
type CounterVector struct{ *prometheus.CounterVec }

// NewCounterVector returns counters that begin at zero; name ends in _total. The
// values of labels must not be chosen by clients.
func NewCounterVector(name, help string, labels ...string) *CounterVector {
	return &CounterVector{prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)}
}

// Count counts one, with these values of the labels.
func (v *CounterVector) Count(values ...string) { v.WithLabelValues(values...).Inc() }

// gaugeVector is gauges by one label whose values come and go.
type gaugeVector struct {
	description *prometheus.Desc
	collect     func(set func(value string, gauge float64))
}

// GaugeVector returns gauges by a label. collect calls set for each value of the
// label; it must be safe for concurrent use.
func GaugeVector(name, help, label string, collect func(set func(value string, gauge float64))) Collector {
	return &gaugeVector{prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, []string{label}, nil), collect}
}

// Describe implements prometheus.Collector.
func (v *gaugeVector) Describe(to chan<- *prometheus.Desc) { to <- v.description }

// Collect implements prometheus.Collector.
func (v *gaugeVector) Collect(to chan<- prometheus.Metric) {
	v.collect(func(value string, gauge float64) {
		to <- prometheus.MustNewConstMetric(v.description, prometheus.GaugeValue, gauge, value)
	})
}
