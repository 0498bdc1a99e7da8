package liveproof

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/postgres"
	"ratelimiter/models"
)

// Parameters of the measurement.
const (
	benchPoll   = 5 * time.Second        // between two requests of a polling client
	benchEvery  = 100 * time.Millisecond // between two events
	benchEvents = 150
	ticksPerSec = 100 // of /proc/PID/stat (USER_HZ)
	openPerSec  = 500 // new connections
	benchBreath = 2 * time.Second
)

// measured is the cost of following by one way, by a number of watchers.
type measured struct {
	way                way
	watchers           int
	requests, bytes    int64
	cpu, took          time.Duration // of the server
	p50, p99           time.Duration
	idleKiB            float64 // RSS of the server for each watcher, idle; polling: after its requests
	delivered, expects int
}

// BenchmarkWays measures the four ways to follow 20 orders, of which 10 a second get
// an event. Server, clients and Postgres share the machine. Bytes are those of TCP
// connections in both directions, requests the clients', CPU and RSS those of the
// server's process, latency the time from the event's at to its arrival.
func BenchmarkWays(b *testing.B) {
	var all []measured
	for b.Loop() {
		for text := range strings.SplitSeq(*benchWatchers, ",") {
			n, err := strconv.Atoi(text)
			if err != nil {
				b.Fatal(err)
			}
			for _, w := range ways {
				m := measure(b, w, n)
				all = append(all, m)
				b.Logf("| %s | %d | %d of %d | %.2f | %.0f | %.2f | %s | %s | %.1f |", m.way, m.watchers, m.delivered, m.expects,
					float64(m.requests)/float64(m.delivered), float64(m.bytes)/float64(m.delivered), 1000*m.cpu.Seconds()/float64(m.delivered),
					m.p50.Round(time.Millisecond), m.p99.Round(time.Millisecond), m.idleKiB)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	if *benchPicture != "" {
		if err := os.WriteFile(*benchPicture, drawLatencies(all), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// countedConn counts bytes.
type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// watchers are the clients of a measurement.
type watchers struct {
	requests, bytes, opened atomic.Int64
	mu                      sync.Mutex
	latencies               []time.Duration
}

func (w *watchers) take(e *models.Event) error {
	latency := time.Since(e.At)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latencies = append(w.latencies, latency)
	return nil
}

func (w *watchers) received() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.latencies)
}

// watch follows a stream until ctx ends.
func (w *watchers) watch(ctx context.Context, f *follower, by way, base string) {
	first := true
	opened := func() {
		if first {
			w.opened.Add(1)
		}
		first = false
	}
	for ctx.Err() == nil {
		w.requests.Add(1)
		var err error
		switch by {
		case polling:
			if _, err = f.page(ctx, base, ""); err == nil {
				opened()
			}
			pause(ctx, benchPoll)
		case longPoll:
			query := "&wait=30s"
			if first {
				query = ""
			}
			if _, err = f.page(ctx, base, query); err == nil {
				opened()
			}
		case sse:
			err = f.events(ctx, base)
		case webSocket:
			err = f.frames(ctx, base)
		}
		if err != nil {
			pause(ctx, time.Second)
		}
	}
}

// measure measures one way on a server of its own.
func measure(b *testing.B, by way, n int) measured {
	b.Helper()
	s := openShop(b, 1, 10)
	server := s.servers[0]
	defer server.kill()
	add := func(order models.EventStream) {
		if err := postgres.InTx(b.Context(), s.db, func(tx pgx.Tx) error { return appendEvent(b.Context(), tx, order) }); err != nil {
			b.Fatal(err)
		}
	}
	for _, order := range s.orders {
		add(order)
	}
	w := &watchers{}
	transport := &http.Transport{MaxIdleConnsPerHost: n, DisableCompression: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return countedConn{conn, &w.bytes}, err
	}}
	defer transport.CloseIdleConnections()
	before := server.rss()
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	perOrder := map[string]int{}
	for i := range n {
		order := s.orders[i%len(s.orders)]
		perOrder[order.Order]++
		f := &follower{http: &http.Client{Transport: transport}, key: s.keys[order.Owner], stream: order, take: w.take}
		running.Go(func() {
			pause(ctx, rand.N(max(benchPoll, time.Duration(n)*time.Second/openPerSec)))
			w.watch(ctx, f, by, server.base)
		})
	}
	await(b, "all are connected", func() bool {
		return by == polling || by == longPoll && w.opened.Load() == int64(n) || server.metric("ratelimiter_event_streams_open") == float64(n)
	})
	await(b, "all have polled", func() bool { return by != polling || w.opened.Load() == int64(n) })
	time.Sleep(benchBreath)
	m := measured{way: by, watchers: n, idleKiB: float64(server.rss()-before) / float64(n)}
	w.mu.Lock()
	w.latencies = nil // of what happened before
	w.mu.Unlock()
	requests, bytes, cpu, began := w.requests.Load(), w.bytes.Load(), server.cpu(), time.Now()
	for i := range benchEvents {
		time.Sleep(time.Until(began.Add(time.Duration(i) * benchEvery)))
		order := s.orders[rand.N(len(s.orders))]
		m.expects += perOrder[order.Order]
		add(order)
	}
	for deadline := time.Now().Add(2 * benchPoll); w.received() < m.expects && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	m.took, m.cpu = time.Since(began), server.cpu()-cpu
	m.requests, m.bytes = w.requests.Load()-requests, w.bytes.Load()-bytes
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.latencies)
	m.delivered = len(w.latencies)
	m.p50, m.p99 = w.latencies[m.delivered/2], w.latencies[m.delivered*99/100]
	return m
}

// rss returns the resident memory of the process, in KiB.
func (s *server) rss() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.ParseInt(strings.Fields(rest + " x")[0], 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// cpu returns the CPU time of the process, from /proc/PID/stat: user and system.
func (s *server) cpu() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		s.t.Fatal("the process is gone")
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSec
}
