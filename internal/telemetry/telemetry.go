// Package telemetry provides the Prometheus metrics of the server.
package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins the names of all metrics of this product.
const namespace = "ratelimiter"

// Metrics are the metrics of one server. Parts of the server add theirs before
// it starts. It is safe for concurrent use.
type Metrics struct{ registry *prometheus.Registry }

// New returns Metrics with those of the Go runtime and the process.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in the text format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Labels distinguish metrics of the same name.
type Labels = prometheus.Labels

// Counter adds a counter that value reports; its name ends in _total. value must
// be safe for concurrent use and never decrease. Counter panics if the name is
// taken.
func (m *Metrics) Counter(name, help string, labels Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value))
}

// Gauge adds a gauge that value reports.
func (m *Metrics) Gauge(name, help string, labels Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value))
}

// Histogram adds a histogram for each value of a label. bounds are the upper bounds
// of its buckets.
func (m *Metrics) Histogram(name, help string, bounds []float64, label string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: bounds}, []string{label})
	m.registry.MustRegister(h)
	return h
}
