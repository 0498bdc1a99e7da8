package e2e

import (
	"io"
	"net/http"
	"regexp"
	"testing"
)

// metric returns the value of a metric of the ops address, as text.
func (a *testApp) metric(name string) string {
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
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if line == nil {
		a.t.Fatalf("no metric %s in\n%s", name, text)
	}
	return string(line[1])
}

func TestMetrics_allowances(t *testing.T) {
	app := newApp(t)
	app.plan("p", `[{"name":"monthly","algorithm":"calendar","limit":10000,"period":"month"}]`)
	app.caller("p").Get("/v1/products").Want(http.StatusOK)
	for name, want := range map[string]string{
		`ratelimiter_allowance_leased_units_total{of="keys"}`:   "50",
		`ratelimiter_allowance_leased_units_total{of="checks"}`: "0",
		`ratelimiter_allowance_wasted_units_total{of="keys"}`:   "0",
		`ratelimiter_allowance_statements_total{of="keys"}`:     "1",
		`ratelimiter_allowance_counters{of="keys"}`:             "1",
	} {
		if got := app.metric(name); got != want {
			t.Errorf("%s %s, want %s", name, got, want)
		}
	}
}
