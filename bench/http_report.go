package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// goal is a ratio that the report puts first.
type goal struct {
	what          string
	block         string
	server, than  string // than: the server to compare with; empty: allocations of a request
	least, atMost float64
}

var goals = []goal{
	{"an admitted request ÷ bare Gin", "admitted, 1 key", ours, bareGin, 0.55, 0},
	{"its allocations", "admitted, 1 key", ours, "", 0, 40},
	{"an admitted request ÷ FastAPI + slowapi", "admitted, 1 key", ours, fastAPI, 8, 0},
	{"a refusal ÷ bare Gin", "refused, 1 key", ours, bareGin, 0.70, 0},
	{"its allocations", "refused, 1 key", ours, "", 0, 30},
	{"2,000 active keys ÷ 1 key", "admitted, 2,000 keys", ours, oursOne, 0.85, 0},
	{"100,000 active keys ÷ 1 key", "admitted, 100,000 keys", ours, oursOne, 0.85, 0},
}

// report returns the results as Markdown.
func (b *httpBench) report(done []*block, loadBefore string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %d cores, %d rounds, %d connections; load average %s before, %s after.\n", runtime.Version(), runtime.NumCPU(), b.rounds,
		connections, loadBefore, loadAverage())
	for _, why := range b.missing {
		fmt.Fprintf(&out, "%s\n", why)
	}
	fmt.Fprint(&out, "\n| RateLimiter | requests per second | per CPU time, Postgres included | goal |\n|---|---|---|---|\n")
	for _, g := range goals {
		at := slices.IndexFunc(done, func(block *block) bool { return block.String() == g.block })
		if at < 0 {
			continue
		}
		s, than := done[at].series[g.server], done[at].series[g.than]
		switch {
		case g.than == "":
			fmt.Fprintf(&out, "| %s | %.1f | | ≤ %.0f |\n", g.what, s.used.mallocs/s.requests, g.atMost)
		case than != nil:
			fmt.Fprintf(&out, "| %s | %s | %.2f × | ≥ %.2f × |\n", g.what, spread(s.rate, than.rate), than.cpuTime()/s.cpuTime(), g.least)
		}
	}
	pivot(&out, done, "requests per second ÷ bare Gin", func(s, bare *series) string { return spread(s.rate, bare.rate) })
	pivot(&out, done, "requests per second", func(s, _ *series) string { return fmt.Sprintf("%.0f", median(s.rate)) })
	pivot(&out, done, "p50, p99 in ms", func(s, _ *series) string { return fmt.Sprintf("%.2f, %.2f", median(s.p50), median(s.p99)) })
	pivot(&out, done, "CPU µs per request, + Postgres", func(s, _ *series) string {
		if s.used.database > 0 {
			return fmt.Sprintf("%.1f + %.1f", s.used.cpu*1e6/s.requests, s.used.database*1e6/s.requests)
		}
		return fmt.Sprintf("%.1f", s.cpuTime())
	})
	pivot(&out, done, "allocations per request, memory", func(s, _ *series) string {
		memory := fmt.Sprintf("%d MB", s.used.resident>>20)
		if s.used.mallocs == 0 {
			return memory
		}
		return fmt.Sprintf("%.1f, %s", s.used.mallocs/s.requests, memory)
	})
	return out.String()
}

// cpuTime returns the µs of CPU time that a request took, that of Postgres included.
// Other load on the machine changes it less than the rate.
func (s *series) cpuTime() float64 {
	return (s.used.cpu + s.used.database) * 1e6 / s.requests
}

// pivot writes a table with a row for each block and a column for each server.
func pivot(out *strings.Builder, done []*block, title string, cell func(s, bare *series) string) {
	columns := []string{ours, ginUlule, nginx, fastAPI, bareGin}
	fmt.Fprintf(out, "\n| %s | %s |\n|---%s|\n", title, strings.Join(columns, " | "), strings.Repeat("|---", len(columns)))
	for _, block := range done {
		fmt.Fprintf(out, "| %v |", block)
		for _, name := range columns {
			text := ""
			if s := block.series[name]; s != nil {
				text = cell(s, block.series[bareGin])
			}
			fmt.Fprintf(out, " %s |", text)
		}
		fmt.Fprintln(out)
	}
}

// spread returns the median and the quartiles of the ratios of rounds.
func spread(rates, than []float64) string {
	ratios := make([]float64, len(rates))
	for i := range rates {
		ratios[i] = rates[i] / than[i]
	}
	return fmt.Sprintf("%.2f × (%.2f to %.2f)", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
}

// quantile interpolates linearly between the closest values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	position := q * float64(len(sorted)-1)
	below := int(position)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (position-float64(below))*(sorted[above]-sorted[below])
}

// loadAverage returns the machine's load average of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}
