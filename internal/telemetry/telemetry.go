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

// Metrics are the metrics of one server. Components add theirs before it starts.
// It is safe for concurrent use.
type Metrics struct{ registry *prometheus.Registry }

// Collector is one or more metrics.
type Collector = prometheus.Collector

// Labels distinguish metrics of the same name.
type Labels = prometheus.Labels

// New returns Metrics with those of the Go runtime and the process.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.Add(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Add adds the metrics of a component. It panics if a name is taken.
func (m *Metrics) Add(metrics ...Collector) { m.registry.MustRegister(metrics...) }

// Handler serves the metrics in the text format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Counter returns a counter that value reports; its name ends in _total. value
// must be safe for concurrent use and never decrease.
func Counter(name, help string, labels Labels, value func() float64) Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

// Gauge returns a gauge that value reports. value must be safe for concurrent use.
func Gauge(name, help string, labels Labels, value func() float64) Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, value)
}

// Bool returns the value of a gauge that is 1 while is reports true, otherwise 0.
func Bool(is func() bool) func() float64 {
	return func() float64 {
		if is() {
			return 1
		}
		return 0
	}
}

// Histogram adds a histogram for each value of a label. bounds are the upper bounds
// of its buckets.
func (m *Metrics) Histogram(name, help string, bounds []float64, label string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: bounds}, []string{label})
	m.registry.MustRegister(h)
	return h
}
