package server

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"ratelimiter/internal/telemetry"
)

// BenchmarkMeter compares requests that are counted for /metrics to requests that
// aren't. They take turns, so that other load on the machine affects both.
func BenchmarkMeter(b *testing.B) {
	for name, limit := range map[string]int64{"admitted": 1_000_000, "refused": 1} {
		b.Run(name, func(b *testing.B) {
			cfg := routerConfig(b, limit)
			cfg.Meter = nil
			without := routerOf(cfg)
			cfg.Meter = telemetry.NewTraffic()
			with := routerOf(cfg)
			r, w := requestFor("/v1/products/p"), &discardWriter{http.Header{}}
			measure := func(router http.Handler) float64 {
				const slice = 2000
				began := time.Now()
				for range slice {
					clear(w.header)
					router.ServeHTTP(w, r)
				}
				return float64(time.Since(began)) / slice
			}
			var uncounted, counted []float64
			for b.Loop() {
				uncounted, counted = append(uncounted, measure(without)), append(counted, measure(with))
			}
			slices.Sort(uncounted)
			slices.Sort(counted)
			before, after := uncounted[len(uncounted)/2], counted[len(counted)/2]
			b.ReportMetric(before, "uncounted-ns")
			b.ReportMetric(after, "counted-ns")
			b.ReportMetric(after-before, "difference-ns")
			b.ReportMetric(0, "ns/op")
		})
	}
}
