// Command load sends requests for a cheap and a heavy path of a local server at
// fixed rates (an open loop) and prints the latencies of the cheap one as JSON. It
// is a separate process, so that the measurement doesn't compete with the
// goroutines of the server.
//
// The environment variable LOAD_KEY is the API key.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// plan is the configuration of a run.
type plan struct {
	base, cheap, heavy   string
	cheapRate, heavyRate float64 // requests a second
	duration, warmup     time.Duration
	clients              int // not 0: a closed loop of this many clients of heavy, instead of the rates
}

// Limits of a run.
const (
	maxDuration = time.Minute
	maxRate     = 2000 // requests a second
	maxInFlight = 4000 // requests due above it are dropped
	maxClients  = 64
)

// Report is the result of a run.
type Report struct {
	Cheap    []time.Duration `json:"cheap"`    // latency of each request, from when it was due
	Statuses map[string]int  `json:"statuses"` // number of heavy requests by status, "failed" or "dropped"
	Failed   int             `json:"failed"`   // cheap requests without a 200
}

func main() {
	var p plan
	flag.StringVar(&p.base, "base", "", "base URL of the server, on 127.0.0.1")
	flag.StringVar(&p.cheap, "cheap", "", "path to measure")
	flag.StringVar(&p.heavy, "heavy", "", "path that loads the server")
	flag.Float64Var(&p.cheapRate, "cheap-rate", 0, "requests per second")
	flag.Float64Var(&p.heavyRate, "heavy-rate", 0, "requests per second")
	flag.DurationVar(&p.duration, "for", 0, "duration of the run")
	flag.DurationVar(&p.warmup, "warm", 0, "duration at the start that isn't measured")
	flag.IntVar(&p.clients, "clients", 0, "send heavy requests in a closed loop of this many clients instead of at a rate")
	flag.Parse()
	if err := run(p); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(p plan) error {
	if err := p.check(); err != nil {
		return err
	}
	l := &loader{plan: p, key: os.Getenv("LOAD_KEY"), report: Report{Statuses: map[string]int{}}}
	l.http.Transport = &http.Transport{MaxIdleConnsPerHost: maxInFlight}
	l.start = time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), l.start.Add(p.duration+time.Second))
	defer cancel() // requests are canceled one second after the end
	if p.clients > 0 {
		l.closedLoop(ctx)
	} else {
		l.openLoop(ctx)
	}
	return json.NewEncoder(os.Stdout).Encode(l.report)
}

func (p *plan) check() error {
	base, err := url.Parse(p.base)
	switch {
	case err != nil:
		return err
	case base.Hostname() != "127.0.0.1":
		return fmt.Errorf("%q is not on 127.0.0.1", p.base)
	case p.duration <= 0 || p.duration > maxDuration || p.cheapRate > maxRate || p.heavyRate > maxRate || p.clients > maxClients:
		return errors.New("the duration, a rate or the number of clients is out of range")
	}
	return nil
}

// loader is the state of a run.
type loader struct {
	plan
	key   string
	http  http.Client
	start time.Time

	mu     sync.Mutex
	report Report
}

// closedLoop sends heavy requests, each client one after the other.
func (l *loader) closedLoop(ctx context.Context) {
	var group sync.WaitGroup
	for range l.clients {
		group.Go(func() {
			for time.Since(l.start) < l.duration {
				l.count(l.send(ctx, l.heavy))
			}
		})
	}
	group.Wait()
}

// openLoop sends both kinds of requests at their rates.
func (l *loader) openLoop(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() {
		l.every(l.cheapRate, func(due time.Time) {
			status := l.send(ctx, l.cheap)
			l.record(due, time.Since(due), status)
		})
	})
	group.Go(func() {
		l.every(l.heavyRate, func(time.Time) { l.count(l.send(ctx, l.heavy)) })
	})
	group.Wait()
}

// every calls send at a rate, each time in a new goroutine, and waits for all of
// them.
func (l *loader) every(rate float64, send func(due time.Time)) {
	var group sync.WaitGroup
	defer group.Wait()
	inFlight := make(chan struct{}, maxInFlight)
	for i := 0; rate > 0; i++ {
		due := l.start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if due.Sub(l.start) >= l.duration {
			return
		}
		time.Sleep(time.Until(due))
		select {
		case inFlight <- struct{}{}:
			group.Go(func() { defer func() { <-inFlight }(); send(due) })
		default:
			l.count("dropped")
		}
	}
}

// send sends a request and reads the response. It returns the status or "failed".
func (l *loader) send(ctx context.Context, path string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+l.key)
	response, err := l.http.Do(request)
	if err != nil {
		return "failed"
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "failed"
	}
	return strconv.Itoa(response.StatusCode)
}

func (l *loader) count(status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Statuses[status]++
}

// record records the latency of a cheap request. For a failed one it is a lower
// bound.
func (l *loader) record(due time.Time, took time.Duration, status string) {
	if due.Sub(l.start) < l.warmup {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Cheap = append(l.report.Cheap, took)
	if status != strconv.Itoa(http.StatusOK) {
		l.report.Failed++
	}
}
