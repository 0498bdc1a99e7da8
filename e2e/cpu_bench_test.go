package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
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

// loadReport is the output of internal/testkit/load.
type loadReport struct {
	Cheap    []time.Duration
	Statuses map[string]int
	Failed   int
}

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
	program := buildLoad(b)
	bounded := newBenchServer(b, "with pool", workpool.New())
	unbounded := newBenchServer(b, "without pool", workpool.NewSized(1<<20, 0))
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	for b.Loop() {
		idle := &benchServer{testApp: bounded.testApp, name: "no invoices", key: bounded.key, heavy: bounded.heavy, seen: map[string]int{}}
		idle.load(b, program, 0)
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
			capacity := base.server.capacity(b, program, base.clients)
			b.Logf("%s: capacity %.0f invoices/s; requesting %.1f times as many", base.name, capacity, overload)
			bounded.reset()
			unbounded.reset()
			for range rounds {
				bounded.load(b, program, overload*capacity)
				unbounded.load(b, program, overload*capacity)
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

func buildLoad(b *testing.B) string {
	program := filepath.Join(b.TempDir(), "load")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../internal/testkit/load").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

func newBenchServer(b *testing.B, name string, cpu *workpool.Pool) *benchServer {
	app := newApp(b, withCPU(cpu))
	key := app.key(models.NewKey{Plan: "internal", Name: name})
	placed := place(app.As(key), slices.Repeat([]string{cups, filters}, items/2)...)
	return &benchServer{testApp: app, name: name, key: key, heavy: "/v1/orders/" + placed.ID + "/invoice"}
}

func (c *benchServer) reset() { c.cheap, c.seen = nil, map[string]int{} }

// capacity returns the invoices per second of a closed loop of clients.
func (c *benchServer) capacity(b *testing.B, program string, clients int) float64 {
	report := c.run(b, program, fmt.Sprintf("-clients=%d", clients))
	return float64(report.Statuses["200"]) / slice.Seconds()
}

// load runs one slice of load and adds its measurements.
func (c *benchServer) load(b *testing.B, program string, heavyRate float64) {
	report := c.run(b, program, fmt.Sprintf("-cheap-rate=%d", cheapRate), fmt.Sprintf("-heavy-rate=%f", heavyRate),
		"-warm="+warmup.String(), "-cheap=/v1/products/"+cups)
	c.cheap = append(c.cheap, report.Cheap...)
	for status, n := range report.Statuses {
		c.seen[status] += n
	}
	if report.Failed > 0 {
		c.seen["failed cheap requests"] += report.Failed
	}
}

func (c *benchServer) run(b *testing.B, program string, args ...string) loadReport {
	ctx, cancel := context.WithTimeout(b.Context(), slice+20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, program, append(args, "-base="+c.Base(), "-heavy="+c.heavy, "-for="+slice.String())...)
	command.Env = append(os.Environ(), "LOAD_KEY="+c.key)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
	var report loadReport
	if err := json.Unmarshal(out, &report); err != nil {
		b.Fatal(err)
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
