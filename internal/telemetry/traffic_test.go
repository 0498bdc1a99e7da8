package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// wantSeries checks that /metrics has the lines.
func wantSeries(t *testing.T, m *Metrics, lines ...string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for _, line := range lines {
		if !strings.Contains(w.Body.String(), "\nratelimiter_"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}
}

func TestTraffic_decisions(t *testing.T) {
	limiter := ratelimit.New(memory.New())
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "a", Algorithm: ratelimit.FixedWindow, Limit: 2, Period: "1h"},
		{Name: "b", Algorithm: ratelimit.SlidingLog, Limit: 2, Period: "1h"},
		{Name: "c", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1h", Mode: ratelimit.Shadow},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	if err != nil {
		t.Fatal(err)
	}
	traffic, m := NewTraffic(), New()
	m.Add(traffic.Collectors()...)
	for range 5 { // 2 admitted; c would refuse from the second on
		var r ratelimit.Reservation
		if err := limiter.Reserve(t.Context(), &r, quota, "", 1); err != nil {
			t.Fatal(err)
		}
		traffic.Decision(&r.Decision)
	}
	wantSeries(t, m,
		`decisions_total{of="keys",outcome="admitted"} 2`, `decisions_total{of="keys",outcome="refused"} 3`,
		`policy_refusals_total{algorithm="fixed_window",mode="enforce",of="keys"} 3`, `policy_refusals_total{algorithm="sliding_log",mode="enforce",of="keys"} 3`,
		`policy_refusals_total{algorithm="token_bucket",mode="shadow",of="keys"} 4`, `policy_refusals_total{algorithm="token_bucket",mode="enforce",of="keys"} 0`,
		`decisions_total{of="checks",outcome="refused"} 0`)
}

func TestTraffic_requests(t *testing.T) {
	traffic, m := NewTraffic(), New()
	m.Add(traffic.Collectors()...)
	for _, r := range []struct {
		method, route string
		status        int
		took          time.Duration
	}{
		{"GET", "/a", 200, 20 * time.Millisecond}, {"GET", "/a", 204, 2 * time.Second}, {"GET", "/a", 304, 0}, {"GET", "/a", 429, 0},
		{"GET", "/a", 101, -1}, {"GET", "/a", 599, 0}, {"POST", "/a", 999, 0}, {"BREW", "", 405, 0}, {"GET", "", 404, 0}, {"brew", "/a", 405, 0},
	} {
		traffic.Request(r.method, r.route, r.status, r.took)
	}
	wantSeries(t, m,
		`http_requests_total{method="GET",route="/a",status="1xx"} 1`, `http_requests_total{method="GET",route="/a",status="2xx"} 2`,
		`http_requests_total{method="GET",route="/a",status="3xx"} 1`, `http_requests_total{method="GET",route="/a",status="4xx"} 1`,
		`http_requests_total{method="GET",route="/a",status="5xx"} 1`, `http_requests_total{method="POST",route="/a",status="5xx"} 1`,
		`http_requests_total{method="unknown",route="unknown",status="4xx"} 1`, `http_requests_total{method="GET",route="unknown",status="4xx"} 1`,
		`http_requests_total{method="unknown",route="/a",status="4xx"} 1`,
		`http_request_duration_seconds_bucket{method="GET",route="/a",le="0.01"} 3`, `http_request_duration_seconds_bucket{method="GET",route="/a",le="1"} 4`,
		`http_request_duration_seconds_count{method="GET",route="/a"} 5`)
}

// Counting a request and its decision allocates nothing.
func TestTraffic_allocations(t *testing.T) {
	var r ratelimit.Reservation
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "a", Algorithm: ratelimit.FixedWindow, Limit: 1, Period: "1h"}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	limiter, traffic := ratelimit.New(memory.New()), NewTraffic()
	for range 2 { // the second is refused
		if err := limiter.Reserve(t.Context(), &r, quota, "", 1); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		traffic.Request("GET", "/a", 429, time.Millisecond)
		traffic.Decision(&r.Decision)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTraffic(b *testing.B) {
	traffic, admitted := NewTraffic(), ratelimit.Decision{Allowed: true}
	b.ReportAllocs()
	for b.Loop() {
		traffic.Request("GET", "/v1/products/:id", 200, time.Millisecond)
		traffic.Decision(&admitted)
	}
}
