package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ratelimiter/internal/workpool"
	"ratelimiter/models"
)

// The load of BenchmarkLatencyUnderInvoiceLoad: about 90 s in total.
const (
	overload  = 1.3 // times the capacity
	cheapRate = 100 // requests per second
	rounds    = 4
	slice     = 4 * time.Second
	warmup    = time.Second // begin of a slice, not measured
	items     = 20          // in the order
)

// benchServer is a server and its measurements.
type benchServer struct {
	*testApp
	name  string
	key   string
	heavy string          // path of an invoice
	cheap []time.Duration // latencies of cheap requests
	seen  map[string]int  // number of invoices by status
}

// BenchmarkLatencyUnderInvoiceLoad compares the p99 latency of a cheap, I/O-bound
// handler (GET /v1/products/{id}) while invoices are requested above capacity: on a
// server with the CPU pool and on one with an unbounded pool. The servers take
// turns; the clients are a separate process. Run it with make bench-cpu.
func BenchmarkLatencyUnderInvoiceLoad(b *testing.B) {
	bounded := newBenchServer(b, "with pool", workpool.New())
	unbounded := newBenchServer(b, "without pool", workpool.NewSized(1<<20, 0))
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	for b.Loop() {
		idle := &benchServer{testApp: bounded.testApp, name: "no invoices", key: bounded.key, heavy: bounded.heavy, seen: map[string]int{}}
		idle.load(b, 0)
		b.Logf("%-17s %s", idle.name, figures(idle.cheap))
		for _, base := range []struct {
			name    string
			server  *benchServer
			clients int
			metric  string
		}{
			{"pool workers", bounded, workers, "pool"},
			{"all cores", unbounded, 4 * runtime.GOMAXPROCS(0), "machine"},
		} {
			capacity := base.server.capacity(b, base.clients)
			b.Logf("%s: capacity %.0f invoices/s; requesting %.1f times as many", base.name, capacity, overload)
			bounded.reset()
			unbounded.reset()
			for range rounds {
				bounded.load(b, overload*capacity)
				unbounded.load(b, overload*capacity)
			}
			for _, c := range []*benchServer{bounded, unbounded} {
				b.Logf("%-17s %s; invoices by status: %s", c.name, figures(c.cheap), c.statuses())
			}
			ratio := float64(percentile(bounded.cheap, 99)) / float64(percentile(unbounded.cheap, 99))
			b.Logf("p99 with pool / without pool: %.3f", ratio)
			b.ReportMetric(ratio, "p99-ratio-"+base.metric)
		}
	}
}

func newBenchServer(b *testing.B, name string, cpu *workpool.Pool) *benchServer {
	app := newApp(b, withCPU(cpu))
	key := app.key(models.NewKey{Plan: "internal", Name: name})
	placed := place(app.As(key), slices.Repeat([]string{cups, filters}, items/2)...)
	return &benchServer{testApp: app, name: name, key: key, heavy: "/v1/orders/" + placed.ID + "/invoice"}
}

func (c *benchServer) reset() { c.cheap, c.seen = nil, map[string]int{} }

// capacity returns the invoices per second of a closed loop of clients.
func (c *benchServer) capacity(b *testing.B, clients int) float64 {
	report := c.run(b, requestLoad{Clients: clients})
	return float64(report.Statuses["200"]) / slice.Seconds()
}

// load runs one slice of load and adds its measurements.
func (c *benchServer) load(b *testing.B, heavyRate float64) {
	report := c.run(b, requestLoad{CheapRate: cheapRate, HeavyRate: heavyRate, Warmup: warmup, Cheap: "/v1/products/" + cups})
	c.cheap = append(c.cheap, report.Cheap...)
	for status, n := range report.Statuses {
		c.seen[status] += n
	}
	if report.Failed > 0 {
		c.seen["failed cheap requests"] += report.Failed
	}
}

// run sends a load from another process; see loadVariable.
func (c *benchServer) run(b *testing.B, l requestLoad) (report loadReport) {
	l.Base, l.Key, l.Heavy, l.Duration = c.Base(), c.key, c.heavy, slice
	text, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), slice+20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), loadVariable+"="+string(text))
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err == nil {
		err = json.Unmarshal(out, &report)
	}
	if err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
	return report
}

func (c *benchServer) statuses() string {
	var list []string
	for _, status := range slices.Sorted(maps.Keys(c.seen)) {
		list = append(list, fmt.Sprintf("%s: %d", status, c.seen[status]))
	}
	return strings.Join(list, ", ")
}

func percentile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)-1)*percent/100]
}

func figures(list []time.Duration) string {
	ms := func(percent int) float64 { return float64(percentile(list, percent)) / float64(time.Millisecond) }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms of %d", ms(50), ms(99), ms(100), len(list))
}
