// Command load asks a server for two paths at fixed rates, whether it answers or
// not (an open loop, as callers on a network are), and prints how long one of
// them took. It is a process of its own, so that what it measures doesn't wait
// behind the server's goroutines a second time.
//
// The key that it sends is in LOAD_KEY.
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

// plan is what to do.
type plan struct {
	base, cheap, heavy   string
	cheapRate, heavyRate float64 // requests a second
	lasts, warm          time.Duration
	clients              int // when not 0: as many ask for heavy in turn, as fast as they are answered
}

// Bounds of a run, so that no mistake in a flag makes it a flood.
const (
	maxLasts    = time.Minute
	maxRate     = 2000 // requests a second
	maxInFlight = 4000 // what comes while as many wait is counted as dropped
	maxClients  = 64
)

// Report is what came of a run.
type Report struct {
	Cheap    []time.Duration `json:"cheap"`    // how long each took, from when it was due
	Statuses map[string]int  `json:"statuses"` // of heavy, by status; "unanswered", "dropped"
	Failed   int             `json:"failed"`   // cheap ones that weren't answered with 200
}

func main() {
	var p plan
	flag.StringVar(&p.base, "base", "", "the server, on the loopback interface")
	flag.StringVar(&p.cheap, "cheap", "", "the path that is measured")
	flag.StringVar(&p.heavy, "heavy", "", "the path that keeps the server busy")
	flag.Float64Var(&p.cheapRate, "cheap-rate", 0, "requests a second")
	flag.Float64Var(&p.heavyRate, "heavy-rate", 0, "requests a second")
	flag.DurationVar(&p.lasts, "for", 0, "how long to send")
	flag.DurationVar(&p.warm, "warm", 0, "how long at the start isn't measured")
	flag.IntVar(&p.clients, "clients", 0, "instead of a rate: so many ask for the heavy path in turn")
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
	ctx, cancel := context.WithDeadline(context.Background(), l.start.Add(p.lasts+time.Second))
	defer cancel() // what isn't answered a second after the end is given up
	if p.clients > 0 {
		l.inTurn(ctx)
	} else {
		l.atRates(ctx)
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
	case p.lasts <= 0 || p.lasts > maxLasts || p.cheapRate > maxRate || p.heavyRate > maxRate || p.clients > maxClients:
		return errors.New("the load has no bound, or too high a one")
	}
	return nil
}

// loader is a run under way.
type loader struct {
	plan
	key   string
	http  http.Client
	start time.Time

	mu     sync.Mutex
	report Report
}

// inTurn lets clients ask for heavy, each as soon as it was answered.
func (l *loader) inTurn(ctx context.Context) {
	var group sync.WaitGroup
	for range l.clients {
		group.Go(func() {
			for time.Since(l.start) < l.lasts {
				l.count(l.ask(ctx, l.heavy))
			}
		})
	}
	group.Wait()
}

// atRates sends both paths at their rates, until the end.
func (l *loader) atRates(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() {
		l.every(l.cheapRate, func(due time.Time) {
			status := l.ask(ctx, l.cheap)
			l.measured(due, time.Since(due), status)
		})
	})
	group.Go(func() {
		l.every(l.heavyRate, func(time.Time) { l.count(l.ask(ctx, l.heavy)) })
	})
	group.Wait()
}

// every calls send in a goroutine of its own each time that it is due, and
// returns when all have returned.
func (l *loader) every(rate float64, send func(due time.Time)) {
	var group sync.WaitGroup
	defer group.Wait()
	places := make(chan struct{}, maxInFlight)
	for i := 0; rate > 0; i++ {
		due := l.start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if due.Sub(l.start) >= l.lasts {
			return
		}
		time.Sleep(time.Until(due))
		select {
		case places <- struct{}{}:
			group.Go(func() { defer func() { <-places }(); send(due) })
		default:
			l.count("dropped")
		}
	}
}

// ask returns the status of an answer that was read to its end.
func (l *loader) ask(ctx context.Context, path string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+l.key)
	response, err := l.http.Do(request)
	if err != nil {
		return "unanswered"
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "unanswered"
	}
	return strconv.Itoa(response.StatusCode)
}

func (l *loader) count(status string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Statuses[status]++
}

// measured notes how long a cheap request took; one that wasn't answered took
// at least that long.
func (l *loader) measured(due time.Time, took time.Duration, status string) {
	if due.Sub(l.start) < l.warm {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Cheap = append(l.report.Cheap, took)
	if status != strconv.Itoa(http.StatusOK) {
		l.report.Failed++
	}
}
