package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// loadVariable is the environment variable that makes this program send a load,
// given in JSON, and end. A separate process doesn't compete with the goroutines
// of the server.
const loadVariable = "E2E_LOAD"

// maxInFlight bounds the requests of one rate. Those that are due above it are
// dropped.
const maxInFlight = 4000

// requestLoad is the requests for a cheap and a heavy path of a server: at fixed rates
// (an open loop), or only heavy ones by clients that each send one after the other
// (a closed loop).
type requestLoad struct {
	Base, Key, Cheap, Heavy string
	CheapRate, HeavyRate    float64 // requests per second
	Clients                 int     // not 0: of the closed loop
	Duration, Warmup        time.Duration
}

// loadReport is the result of a load.
type loadReport struct {
	Cheap    []time.Duration // latency of each request after the warmup, from when it was due
	Statuses map[string]int  // number of heavy requests by status, "failed" or "dropped"
	Failed   int             // cheap requests without a 200
}

func init() {
	text := os.Getenv(loadVariable)
	if text == "" {
		return
	}
	s := &sender{client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxInFlight}}, report: loadReport{Statuses: map[string]int{}}}
	if err := json.Unmarshal([]byte(text), &s.requestLoad); err != nil {
		panic(err)
	}
	s.run()
	if err := json.NewEncoder(os.Stdout).Encode(s.report); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// sender is the state of sending a load.
type sender struct {
	requestLoad
	client http.Client
	start  time.Time

	mu     sync.Mutex
	report loadReport
}

// run sends the load. Requests are canceled one second after its end.
func (s *sender) run() {
	s.start = time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), s.start.Add(s.Duration+time.Second))
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	for range s.Clients {
		group.Go(func() {
			for time.Since(s.start) < s.Duration {
				s.count(s.send(ctx, s.Heavy))
			}
		})
	}
	if s.Clients > 0 {
		return
	}
	group.Go(func() {
		s.every(s.CheapRate, func(due time.Time) {
			status := s.send(ctx, s.Cheap)
			s.record(due, time.Since(due), status)
		})
	})
	group.Go(func() {
		s.every(s.HeavyRate, func(time.Time) { s.count(s.send(ctx, s.Heavy)) })
	})
}

// every calls send at a rate, each time in a new goroutine, and waits for all of
// them.
func (s *sender) every(rate float64, send func(due time.Time)) {
	var group sync.WaitGroup
	defer group.Wait()
	inFlight := make(chan struct{}, maxInFlight)
	for i := 0; rate > 0; i++ {
		due := s.start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if due.Sub(s.start) >= s.Duration {
			return
		}
		time.Sleep(time.Until(due))
		select {
		case inFlight <- struct{}{}:
			group.Go(func() { defer func() { <-inFlight }(); send(due) })
		default:
			s.count("dropped")
		}
	}
}

// send sends a request and reads the response. It returns the status or "failed".
func (s *sender) send(ctx context.Context, path string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Base+path, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	response, err := s.client.Do(request)
	if err != nil {
		return "failed"
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "failed"
	}
	return strconv.Itoa(response.StatusCode)
}

func (s *sender) count(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Statuses[status]++
}

// record records the latency of a cheap request. For a failed one it is a lower
// bound.
func (s *sender) record(due time.Time, took time.Duration, status string) {
	if due.Sub(s.start) < s.Warmup {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Cheap = append(s.report.Cheap, took)
	if status != strconv.Itoa(http.StatusOK) {
		s.report.Failed++
	}
}
