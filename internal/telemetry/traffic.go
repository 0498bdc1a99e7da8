package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"ratelimiter/ratelimit"
)

// Traffic counts requests, decisions and failed authentications. It implements
// middleware.Meter. It is safe for concurrent use.
type Traffic struct {
	*requests
	keys, checks    decisions
	decided         *prometheus.CounterVec
	refused         *prometheus.CounterVec
	authentications *prometheus.CounterVec
}

// decisions counts decisions over one kind of subject.
type decisions struct {
	admitted, refused           prometheus.Counter
	byEnforcement, byShadowMode map[ratelimit.Algorithm]prometheus.Counter // refusals
}

// algorithms are the values of the label algorithm.
var algorithms = []ratelimit.Algorithm{
	ratelimit.TokenBucket, ratelimit.LeakyBucket, ratelimit.FixedWindow, ratelimit.SlidingWindow, ratelimit.SlidingLog, ratelimit.Calendar, ratelimit.Concurrency,
}

// NewTraffic returns counters at zero.
func NewTraffic() *Traffic {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	t := &Traffic{
		requests: newRequests(),
		decided:  counter("decisions_total", "Decisions that cost something: requests of keys, or checks of callers' own subjects.", "of", "outcome"),
		refused:  counter("policy_refusals_total", "Refusals by a policy; in mode shadow, what it would have refused.", "of", "algorithm", "mode"),
		authentications: counter("authentication_failures_total",
			"Requests without a usable API key, by the code of the problem.", "code"),
	}
	t.keys, t.checks = t.decisions("keys"), t.decisions("checks")
	return t
}

func (t *Traffic) decisions(of string) decisions {
	d := decisions{
		admitted: t.decided.WithLabelValues(of, "admitted"), refused: t.decided.WithLabelValues(of, "refused"),
		byEnforcement: map[ratelimit.Algorithm]prometheus.Counter{}, byShadowMode: map[ratelimit.Algorithm]prometheus.Counter{},
	}
	for _, a := range algorithms {
		d.byEnforcement[a] = t.refused.WithLabelValues(of, string(a), string(ratelimit.Enforce))
		d.byShadowMode[a] = t.refused.WithLabelValues(of, string(a), string(ratelimit.Shadow))
	}
	return d
}

// Collectors returns the metrics.
func (t *Traffic) Collectors() []Collector {
	return []Collector{t.counts, t.durations, t.decided, t.refused, t.authentications}
}

// Decision counts a decision over a key's quota; see middleware.Meter.
func (t *Traffic) Decision(d *ratelimit.Decision) { t.keys.count(d) }

// Check counts a decision over a subject of a caller's own.
func (t *Traffic) Check(d *ratelimit.Decision) { t.checks.count(d) }

// AuthenticationFailed counts a request without a usable key; see
// middleware.Meter.
func (t *Traffic) AuthenticationFailed(code string) {
	t.authentications.WithLabelValues(code).Inc()
}

func (c *decisions) count(d *ratelimit.Decision) {
	if d.Allowed {
		c.admitted.Inc()
	} else {
		c.refused.Inc()
		countRefusals(c.byEnforcement, d.Statuses())
	}
	countRefusals(c.byShadowMode, d.Shadows())
}

func countRefusals(counters map[ratelimit.Algorithm]prometheus.Counter, statuses []ratelimit.Status) {
	for i := range statuses {
		if !statuses[i].Allowed {
			counters[statuses[i].Policy.Algorithm].Inc()
		}
	}
}
