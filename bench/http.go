package main

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"
)

// Load of overHTTP.
const (
	httpRounds  = 7
	httpSlice   = time.Second // per server and round
	connections = 16          // of wrk
	// apiKey is the API key of every request.
	apiKey = "rl_live_0123456789ab_0123456789012345678901234567"
)

// server is a server under test.
type server struct {
	name, baseline string // baseline is the name of the bare server to compare with
	omits          string // features of this middleware that it doesn't have
	handler        http.Handler
	address        string
	rates          []float64 // requests per second of each round
}

// overHTTP compares the cost of rate limiting middlewares over HTTP: this
// middleware, others, and bare Gin and net/http. Each server listens on a loopback
// port and is loaded with wrk in short, interleaved slices of time, so that other
// load on the machine affects all of them equally. It prints medians and their
// ratios to the bare server of the same kind.
func overHTTP() error {
	list := servers()
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
	for range httpRounds {
		for _, c := range list {
			rate, err := load(c.address)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.rates = append(c.rates, rate)
		}
	}
	report(list)
	return nil
}

var (
	rateLine  = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	faultLine = regexp.MustCompile(`Non-2xx|Socket errors`)
)

// load runs wrk once and returns the rate in requests per second.
func load(address string) (float64, error) {
	out, err := exec.Command("wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+httpSlice.String(),
		"-H", "Authorization: Bearer "+apiKey, "-H", "X-Request-Id: bench", "http://"+address+"/").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	found := rateLine.FindSubmatch(out)
	if found == nil || faultLine.Match(out) {
		return 0, fmt.Errorf("requests failed, or the output of wrk is unexpected:\n%s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// report prints the time of a request as a multiple of the bare server's.
func report(list []*server) {
	bare := map[string][]float64{}
	for _, c := range list {
		bare[c.name] = c.rates
	}
	table(func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "server\tratio\tbaseline\tmedian requests/s\tomits")
		for _, c := range list {
			ratios := make([]float64, len(c.rates))
			for i, rate := range c.rates {
				ratios[i] = bare[c.baseline][i] / rate
			}
			fmt.Fprintf(w, "%s\t%.2f ×\t%s\t%.0f\t%s\n", c.name, median(ratios), c.baseline, median(c.rates), c.omits)
		}
	})
}
