// Command http compares what a limiter costs over real HTTP: bare Gin and bare
// net/http, this middleware, and the peers' own, each on a loopback port, each
// under wrk for a short slice of time in turn, round after round, so that
// whatever else the machine does meets all of them alike. It prints medians
// and, first of all, ratios to the bare server of the same kind.
//
//	go run ./http [-rounds 7] [-slice 1s] [-connections 16]
//
// It needs wrk on the PATH.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// key is what every request carries.
const key = "rl_live_0123456789ab_0123456789012345678901234567"

func main() {
	rounds := flag.Int("rounds", 7, "rounds of slices")
	slice := flag.Duration("slice", time.Second, "time of one server in one round; whole seconds")
	connections := flag.Int("connections", 16, "connections that wrk keeps busy")
	flag.Parse()
	if err := run(*rounds, *slice, *connections); err != nil {
		fmt.Fprintln(os.Stderr, "bench-http:", err)
		os.Exit(1)
	}
}

// contestant is one server and the bare one that it is compared with.
type contestant struct {
	name, against, lacks string
	handler              http.Handler
	address              string
	rates                []float64 // requests a second, one a round
}

func run(rounds int, slice time.Duration, connections int) error {
	list, err := contestants()
	if err != nil {
		return err
	}
	for _, c := range list {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c.address = listener.Addr().String()
		server := &http.Server{Handler: c.handler, ReadHeaderTimeout: 5 * time.Second}
		defer func() { _ = server.Close() }()
		go func() { _ = server.Serve(listener) }() // ends with Close
	}
	for range rounds {
		for _, c := range list {
			rate, err := load(c.address, slice, connections)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.rates = append(c.rates, rate)
		}
	}
	return report(list)
}

var (
	rateLine  = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	faultLine = regexp.MustCompile(`Non-2xx|Socket errors`)
)

// load runs wrk once and returns the requests a second that were answered.
func load(address string, slice time.Duration, connections int) (float64, error) {
	out, err := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+slice.String(),
		"-H", "Authorization: Bearer "+key, "-H", "X-Request-Id: bench", "http://"+address+"/").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if faultLine.Match(out) {
		return 0, fmt.Errorf("not every request was answered:\n%s", out)
	}
	found := rateLine.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("wrk said\n%s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// report prints how many times as long as on the bare server a request takes.
func report(list []*contestant) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "server\tratio\tcompared with\tmedian requests/s\tleaves out")
	bare := map[string][]float64{}
	for _, c := range list {
		bare[c.name] = c.rates
	}
	for _, c := range list {
		ratios := make([]float64, len(c.rates))
		for i, rate := range c.rates {
			ratios[i] = bare[c.against][i] / rate
		}
		_, _ = fmt.Fprintf(table, "%s\t%.2f ×\t%s\t%.0f\t%s\n", c.name, median(ratios), c.against, median(c.rates), c.lacks)
	}
	return table.Flush()
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
