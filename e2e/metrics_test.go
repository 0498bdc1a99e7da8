package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ratelimiter/internal/testkit"
)

// metrics returns the metrics of the ops address.
func (a *testApp) metrics() string {
	a.t.Helper()
	response, err := http.Get("http://" + a.app.OpsAddr().String() + "/metrics")
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatal(response.Status, err)
	}
	return string(text)
}

// metric returns the value of a metric of the ops address, as text; empty: there
// is none.
func (a *testApp) metric(name string) string {
	a.t.Helper()
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(a.metrics())
	if line == nil {
		return ""
	}
	return line[1]
}

// wantMetrics waits until metrics have these values: requests are counted after
// their response was sent.
func (a *testApp) wantMetrics(want map[string]string) {
	a.t.Helper()
	for name, value := range want {
		got := ""
		a.await(fmt.Sprintf("%s %s", name, value), func() bool {
			got = a.metric(name)
			return got == value
		})
	}
}

func TestMetrics_allowances(t *testing.T) {
	app := newApp(t)
	app.plan("p", `[{"name":"monthly","algorithm":"calendar","limit":10000,"period":"month"}]`)
	app.caller("p").Get("/v1/products").Want(http.StatusOK)
	app.wantMetrics(map[string]string{
		`ratelimiter_allowance_leased_units_total{of="keys"}`:   "50",
		`ratelimiter_allowance_leased_units_total{of="checks"}`: "0",
		`ratelimiter_allowance_wasted_units_total{of="keys"}`:   "0",
		`ratelimiter_allowance_statements_total{of="keys"}`:     "1",
		`ratelimiter_allowance_counters{of="keys"}`:             "1",
	})
}

// mixedTraffic sends requests of each outcome and returns the app.
func mixedTraffic(t *testing.T) *testApp {
	w := newWorkload(t)
	w.publish()
	app := w.testApp
	app.wantMetrics(map[string]string{`ratelimiter_queue_paused{group="payment"}`: "0", `ratelimiter_queue_deliveries_total{group="payment",result="done"}`: "1"})
	app.plan("p", `[{"name":"window","algorithm":"fixed_window","limit":2,"period":"1h"},
		{"name":"new","algorithm":"sliding_log","limit":1,"period":"1h","mode":"shadow"}]`)
	caller := app.caller("p", "products:read", "limits:check")
	for _, status := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		caller.Get("/v1/products").Want(status)
	}
	caller.Get("/v1/me").Want(http.StatusOK) // costs nothing: no decision
	for range 3 {
		caller.Post("/v1/limits/check", map[string]any{"subject": "s", "plan": "p"}).Want(http.StatusOK)
	}
	caller.Post("/v1/limits/reserve", map[string]any{"subject": "r", "plan": "p"}).Want(http.StatusOK)
	app.Get("/v1/products").Want(http.StatusUnauthorized)
	app.As("rl_live_mistyped").Get("/v1/products").Want(http.StatusUnauthorized)
	app.Get("/nowhere").Want(http.StatusNotFound)
	app.Get("/livez").Want(http.StatusOK)
	return app
}

func TestMetrics_traffic(t *testing.T) {
	mixedTraffic(t).wantMetrics(map[string]string{
		`ratelimiter_http_requests_total{method="GET",route="/v1/products",status="2xx"}`:        "2",
		`ratelimiter_http_requests_total{method="GET",route="/v1/products",status="4xx"}`:        "3",
		`ratelimiter_http_requests_total{method="GET",route="unknown",status="4xx"}`:             "1",
		`ratelimiter_http_requests_total{method="GET",route="/livez",status="2xx"}`:              "1",
		`ratelimiter_http_request_duration_seconds_count{method="GET",route="/v1/products"}`:     "5",
		`ratelimiter_http_request_duration_seconds_bucket{method="GET",route="/livez",le="10"}`:  "1",
		`ratelimiter_decisions_total{of="keys",outcome="admitted"}`:                              "2",
		`ratelimiter_decisions_total{of="keys",outcome="refused"}`:                               "1",
		`ratelimiter_decisions_total{of="checks",outcome="admitted"}`:                            "3",
		`ratelimiter_decisions_total{of="checks",outcome="refused"}`:                             "1",
		`ratelimiter_policy_refusals_total{algorithm="fixed_window",mode="enforce",of="keys"}`:   "1",
		`ratelimiter_policy_refusals_total{algorithm="sliding_log",mode="shadow",of="keys"}`:     "2",
		`ratelimiter_policy_refusals_total{algorithm="fixed_window",mode="enforce",of="checks"}`: "1",
		`ratelimiter_policy_refusals_total{algorithm="token_bucket",mode="enforce",of="keys"}`:   "0",
		`ratelimiter_authentication_failures_total{code="key_missing"}`:                          "1",
		`ratelimiter_authentication_failures_total{code="key_invalid"}`:                          "1",
		`ratelimiter_cache_reads_total{cache="keys",result="miss"}`:                              "1",
		`ratelimiter_cache_reads_total{cache="keys",result="hit"}`:                               "7",
		`ratelimiter_cache_loads_total{cache="keys",result="found"}`:                             "1",
		`ratelimiter_cache_reads_total{cache="plans",result="miss"}`:                             "1",
		`ratelimiter_cache_entries{cache="keys"}`:                                                "1",
		`ratelimiter_key_filter_keys`:                                                            "1",
		`ratelimiter_key_filter_complete`:                                                        "1",
		`ratelimiter_change_feed_current`:                                                        "1",
		`ratelimiter_change_listener_connected`:                                                  "1",
		`ratelimiter_usage_uncounted_requests_total`:                                             "0",
		`ratelimiter_usage_backlog_entries{of="counts"}`:                                         "0",
		`ratelimiter_database_max_connections`:                                                   "8",
		`ratelimiter_database_admin_max_connections`:                                             "3",
		`ratelimiter_open_reservations`:                                                          "1",
		`ratelimiter_enforcement_shadow`:                                                         "0",
		`ratelimiter_cpu_pool_running_jobs`:                                                      "0",
	})
}

func TestMetrics_listener(t *testing.T) {
	app := newApp(t, watching())
	app.exec(disconnect + ` AND application_name LIKE 'ratelimiter listens to %'`)
	app.wantMetrics(map[string]string{
		`ratelimiter_change_listener_disconnects_total`: "1", `ratelimiter_change_listener_connected`: "1", `ratelimiter_change_feed_current`: "1",
	})
}

// Clients can't add series: neither by methods nor by paths.
func TestMetrics_bounded(t *testing.T) {
	app := newApp(t)
	series := func() int { return strings.Count(app.metrics(), "\nratelimiter_http_") }
	send := func(i int) {
		request, err := http.NewRequestWithContext(t.Context(), fmt.Sprintf("METHOD%d", i), fmt.Sprintf("http://%s/none/%d", app.app.Addr(), i), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	send(0)
	app.wantMetrics(map[string]string{`ratelimiter_http_requests_total{method="unknown",route="unknown",status="4xx"}`: "1"})
	before := series()
	for i := range 50 {
		send(i)
	}
	app.wantMetrics(map[string]string{`ratelimiter_http_requests_total{method="unknown",route="unknown",status="4xx"}`: "51"})
	if after := series(); after != before {
		t.Errorf("%d series, then %d", before, after)
	}
}

const (
	metricsPage = "../docs/guide/metrics.md"
	alertRules  = "../deploy/alerts.yml"
)

// The page describes every metric, and no other.
func TestMetrics_page(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) (list []string) {
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, match[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	app := mixedTraffic(t)
	app.wantMetrics(map[string]string{`ratelimiter_http_requests_total{method="GET",route="/livez",status="2xx"}`: "1"})
	served := names(`(?m)^# TYPE (ratelimiter_\w+) `, app.metrics())
	described := names("(?m)^\\| `(ratelimiter_\\w+)", string(page))
	if !slices.Equal(served, described) {
		t.Errorf("served:\n%s\ndescribed:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

func TestMetrics_promtool(t *testing.T) {
	app := mixedTraffic(t)
	app.wantMetrics(map[string]string{`ratelimiter_http_requests_total{method="GET",route="/livez",status="2xx"}`: "1"})
	if out, err := testkit.Promtool(t, app.metrics(), "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if out, err := testkit.Promtool(t, "", "check", "rules", alertRules); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	if out, err := testkit.Promtool(t, "", "test", "rules", "../deploy/alerts_test.yml"); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// A real Prometheus reads the metrics; every metric that the alert rules name
// exists.
func TestMetrics_prometheus(t *testing.T) {
	t.Parallel()
	rules, err := filepath.Abs(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	app := mixedTraffic(t)
	prometheus := testkit.NewPrometheus(t, app.app.OpsAddr().String(), rules)
	query := func(expression string) (values []string) {
		response, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expression))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var body struct {
			Status, Error string
			Data          struct {
				Result []struct{ Value [2]any }
			}
		}
		if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.Status != "success" {
			t.Fatalf("query %s: %v %s", expression, err, body.Error)
		}
		for _, result := range body.Data.Result {
			values = append(values, fmt.Sprint(result.Value[1]))
		}
		return values
	}
	app.await("a scrape", func() bool {
		return slices.Equal(query(`sum(ratelimiter_decisions_total{of="keys"})`), []string{"3"}) && slices.Equal(query(`up`), []string{"1"})
	})
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`ratelimiter_\w+`).FindAllString(string(text), -1)
	if len(names) < 10 {
		t.Fatalf("got rules over %v", names)
	}
	for _, name := range names {
		if len(query(name)) == 0 {
			t.Errorf("the alert rules name %s, which doesn't exist", name)
		}
	}
}
