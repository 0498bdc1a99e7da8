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

// The load of BenchmarkBesideInvoices: some 90 s in all.
const (
	overload  = 1.3 // times what can be drawn
	cheapRate = 100 // requests a second
	rounds    = 4
	slice     = 4 * time.Second
	warm      = time.Second // of a slice, not measured
	items     = 20          // of the order
)

// loadReport is what internal/testkit/load prints.
type loadReport struct {
	Cheap    []time.Duration
	Statuses map[string]int
	Failed   int
}

// contestant is a server, and how long its cheap handler took.
type contestant struct {
	*testApp
	name  string
	key   string
	heavy string // the path of an invoice
	cheap []time.Duration
	seen  map[string]int // invoices by status
}

// BenchmarkBesideInvoices is the p99 of a cheap handler (GET /v1/products/{id},
// which waits for Postgres) while invoices are asked for faster than they can
// be drawn: with the pool, and with one that bounds nothing. Both servers are
// the whole of it, on loopback; the callers are a process of their own; slices
// of time are given to both in turn. Run it by make bench-cpu.
func BenchmarkBesideInvoices(b *testing.B) {
	program := buildLoad(b)
	bounded := newContestant(b, "with the pool", workpool.New())
	unbounded := newContestant(b, "without it", workpool.NewSized(1<<20, 0))
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	for b.Loop() {
		idle := &contestant{testApp: bounded.testApp, name: "without invoices", key: bounded.key, heavy: bounded.heavy, seen: map[string]int{}}
		idle.load(b, program, 0)
		b.Logf("%-17s %s", idle.name, figures(idle.cheap))
		for _, base := range []struct {
			what     string
			server   *contestant
			clients  int
			asMetric string
		}{
			{"the pool's workers", bounded, workers, "pool"},
			{"the whole machine", unbounded, 4 * runtime.GOMAXPROCS(0), "machine"},
		} {
			capacity := base.server.capacity(b, program, base.clients)
			b.Logf("%s can draw %.0f invoices a second; asked for %.1f times as many:", base.what, capacity, overload)
			bounded.reset()
			unbounded.reset()
			for range rounds {
				bounded.load(b, program, overload*capacity)
				unbounded.load(b, program, overload*capacity)
			}
			for _, c := range []*contestant{bounded, unbounded} {
				b.Logf("%-17s %s; invoices by status: %s", c.name, figures(c.cheap), c.statuses())
			}
			ratio := float64(percentile(bounded.cheap, 99)) / float64(percentile(unbounded.cheap, 99))
			b.Logf("p99 with the pool / without it: %.3f", ratio)
			b.ReportMetric(ratio, "p99-ratio-"+base.asMetric)
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

func newContestant(b *testing.B, name string, cpu *workpool.Pool) *contestant {
	app := newApp(b, withCPU(cpu))
	key := app.key(models.NewKey{Plan: "internal", Name: name})
	placed := place(app.As(key), slices.Repeat([]string{cups, filters}, items/2)...)
	return &contestant{testApp: app, name: name, key: key, heavy: "/v1/orders/" + placed.ID + "/invoice"}
}

func (c *contestant) reset() { c.cheap, c.seen = nil, map[string]int{} }

// capacity is how many invoices a second clients who ask in turn are given.
func (c *contestant) capacity(b *testing.B, program string, clients int) float64 {
	report := c.run(b, program, fmt.Sprintf("-clients=%d", clients))
	return float64(report.Statuses["200"]) / slice.Seconds()
}

// load gives the server a slice of time.
func (c *contestant) load(b *testing.B, program string, heavyRate float64) {
	report := c.run(b, program, fmt.Sprintf("-cheap-rate=%d", cheapRate), fmt.Sprintf("-heavy-rate=%f", heavyRate),
		"-warm="+warm.String(), "-cheap=/v1/products/"+cups)
	c.cheap = append(c.cheap, report.Cheap...)
	for status, n := range report.Statuses {
		c.seen[status] += n
	}
	if report.Failed > 0 {
		c.seen["cheap ones failed"] += report.Failed
	}
}

func (c *contestant) run(b *testing.B, program string, args ...string) loadReport {
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

func (c *contestant) statuses() string {
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
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, longest %.1f ms of %d", ms(50), ms(99), ms(100), len(list))
}
