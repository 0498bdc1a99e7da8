package telemetry

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// durationBuckets are upper bounds in seconds. Requests from memory take less
// than a millisecond; a handler may take 10 s.
var durationBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// statusClasses are the values of the label status, by the first digit less one.
var statusClasses = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

// unknown is the value of a label whose value clients could choose.
const unknown = "unknown"

// methods are those of routes; others are unknown.
var methods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true, http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true, http.MethodDelete: true,
}

// requests counts HTTP requests. Its series are those of the routes that were
// requested. It is safe for concurrent use.
type requests struct {
	counts    *prometheus.CounterVec
	durations *prometheus.HistogramVec

	mu    sync.Mutex // held to replace known
	known atomic.Pointer[map[routeLabels]*routeMetrics]
}

type routeLabels struct{ method, route string }

// routeMetrics are the metrics of one method of a route, found without building
// their labels again.
type routeMetrics struct {
	counts   [len(statusClasses)]prometheus.Counter
	duration prometheus.Observer
}

func newRequests() *requests {
	r := &requests{
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "http_requests_total", Help: "HTTP requests by method, route and class of the status.",
		}, []string{"method", "route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds", Help: "Duration of HTTP requests, without streams.", Buckets: durationBuckets,
		}, []string{"method", "route"}),
	}
	r.known.Store(&map[routeLabels]*routeMetrics{})
	return r
}

// find returns the metrics of a method of a route; either may be unknown.
func (r *requests) find(labels routeLabels) *routeMetrics {
	if m := (*r.known.Load())[labels]; m != nil {
		return m
	}
	if !methods[labels.method] {
		labels.method = unknown
	}
	if labels.route == "" {
		labels.route = unknown
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := *r.known.Load()
	if m := before[labels]; m != nil {
		return m
	}
	m := &routeMetrics{duration: r.durations.WithLabelValues(labels.method, labels.route)}
	for class, name := range statusClasses {
		m.counts[class] = r.counts.WithLabelValues(labels.method, labels.route, name)
	}
	known := maps.Clone(before)
	known[labels] = m
	r.known.Store(&known)
	return m
}

// Request counts an ended request; see middleware.Meter.
func (r *requests) Request(method, route string, status int, took time.Duration) {
	m := r.find(routeLabels{method, route})
	m.counts[min(max(status/100, 1), len(m.counts))-1].Inc()
	if took >= 0 {
		m.duration.Observe(took.Seconds())
	}
}
