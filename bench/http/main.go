// Command http compares the cost of rate limiting middlewares over HTTP: this
// middleware, others, and bare Gin and net/http. Each server listens on a
// loopback port and is loaded with wrk in short, interleaved slices of time, so
// that other load on the machine affects all of them equally. It prints medians
// and their ratios to the bare server of the same kind.
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

// key is the API key of every request.
const key = "rl_live_0123456789ab_0123456789012345678901234567"

func main() {
	rounds := flag.Int("rounds", 7, "number of rounds")
	slice := flag.Duration("slice", time.Second, "time per server and round, in whole seconds")
	connections := flag.Int("connections", 16, "number of connections of wrk")
	flag.Parse()
	if err := run(*rounds, *slice, *connections); err != nil {
		fmt.Fprintln(os.Stderr, "bench-http:", err)
		os.Exit(1)
	}
}

// server is a server under test.
type server struct {
	name, baseline string // baseline is the name of the bare server to compare with
	omits          string // features of this middleware that it doesn't have
	handler        http.Handler
	address        string
	rates          []float64 // requests per second of each round
}

func run(rounds int, slice time.Duration, connections int) error {
	list, err := servers()
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

// load runs wrk once and returns the rate in requests per second.
func load(address string, slice time.Duration, connections int) (float64, error) {
	out, err := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+slice.String(),
		"-H", "Authorization: Bearer "+key, "-H", "X-Request-Id: bench", "http://"+address+"/").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if faultLine.Match(out) {
		return 0, fmt.Errorf("requests failed:\n%s", out)
	}
	found := rateLine.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("unexpected output of wrk:\n%s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// report prints the time of a request as a multiple of the bare server's.
func report(list []*server) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "server\tratio\tbaseline\tmedian requests/s\tomits")
	bare := map[string][]float64{}
	for _, c := range list {
		bare[c.name] = c.rates
	}
	for _, c := range list {
		ratios := make([]float64, len(c.rates))
		for i, rate := range c.rates {
			ratios[i] = bare[c.baseline][i] / rate
		}
		_, _ = fmt.Fprintf(table, "%s\t%.2f ×\t%s\t%.0f\t%s\n", c.name, median(ratios), c.baseline, median(c.rates), c.omits)
	}
	return table.Flush()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
