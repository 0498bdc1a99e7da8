package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	connections = 16      // of wrk
	maxKeys     = 100_000 // of a block, active
)

// Names of the servers.
const (
	bareGin  = "bare Gin"
	ours     = "RateLimiter"
	oursOne  = "RateLimiter, 1 key" // in a block of more keys, to compare with
	ginUlule = "Gin + ulule/limiter"
	nginx    = "nginx limit_req"
	fastAPI  = "FastAPI + slowapi"
)

const (
	productPath = "/v1/products/prd_0y5apuf8zs"
	// spentPath is read with keys whose quota is spent. Peers refuse by the path.
	spentPath = "/v1/products/prd_13r8dyn2xo"
	mePath    = "/v1/me"
)

// load is requests for a path, each with a random one of the first keys of keysOf.
type load struct {
	path, keysOf string
	keys         int
}

// block is a load that servers are compared on. Two loads take turns.
type block struct {
	name    string
	keys    int
	loads   []load
	servers []string
	series  map[string]*series // by server
}

// series is the measurements of a server in a block.
type series struct {
	rate, p50, p99 []float64 // of each round: requests per second; ms
	requests       float64   // all that used what is in used
	used           spent
}

// blocks returns the blocks in the order in which they run.
func blocks() (list []*block) {
	everyone := []string{bareGin, ours, ginUlule, nginx, fastAPI}
	add := func(name string, keys int, servers []string, loads ...load) {
		list = append(list, &block{name, keys, loads, servers, map[string]*series{}})
	}
	for _, n := range []int{1, 2_000, maxKeys} {
		half := max(1, n/2)
		add("admitted", n, append([]string{oursOne}, everyone...), load{productPath, productPath, n})
		add("refused", n, everyone, load{spentPath, spentPath, n})
		add("mixed", n, everyone, load{productPath, productPath, half}, load{spentPath, spentPath, half})
	}
	add("/v1/me", 2_000, []string{bareGin, ours}, load{mePath, productPath, 2_000})
	return list
}

// httpBench compares servers over HTTP.
type httpBench struct {
	rounds  int
	binary  string // of RateLimiter
	folder  string
	product product
	servers map[string]*process
	missing []string // why a peer is left out
}

// overHTTP compares RateLimiter as users run it, with its Postgres and its log, with
// bare Gin, which sends the same bytes, and with other limiters. Each server is a
// process, and wrk loads one after the other for a second, so that other load on the
// machine affects all of them equally. It prints Markdown.
func overHTTP(b httpBench, only *regexp.Regexp) (err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	ctx, cancelTime := context.WithTimeout(ctx, time.Duration(10+5*b.rounds)*time.Minute)
	defer cancelTime()
	if b.folder, err = os.MkdirTemp("", "ratelimiter-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.folder) }()
	if err := os.Chmod(b.folder, 0o755); err != nil { // Postgres may run as another user
		return err
	}
	loadBefore := loadAverage()
	defer func() { err = errors.Join(err, b.product.stop()) }()
	if err := b.product.prepare(ctx, b.folder, maxKeys); err != nil {
		return err
	}
	b.servers = map[string]*process{}
	defer func() {
		for _, p := range b.servers {
			p.stop()
		}
	}()
	if err := b.startPeers(ctx); err != nil {
		return err
	}
	var done []*block
	for _, block := range blocks() {
		if only.MatchString(block.String()) {
			if err := b.run(ctx, block); err != nil {
				return fmt.Errorf("%v: %w", block, err)
			}
			done = append(done, block)
		}
	}
	fmt.Print(b.report(done, loadBefore))
	return nil
}

// run measures all servers of a block. RateLimiter starts again, so that it has no
// work left for the keys of an earlier block, and gets a request with each key.
func (b *httpBench) run(ctx context.Context, block *block) error {
	if err := b.restart(ctx); err != nil {
		return err
	}
	for _, l := range block.loads {
		if err := b.product.warm(ctx, b.servers[ours].base+l.path, l); err != nil {
			return err
		}
	}
	b.servers[ours].settle()
	b.servers[oursOne] = b.servers[ours]
	defer delete(b.servers, oursOne)
	present := slices.DeleteFunc(slices.Clone(block.servers), func(name string) bool { return b.servers[name] == nil })
	for _, name := range present {
		block.series[name] = &series{}
	}
	for range b.rounds {
		for _, i := range rand.Perm(len(present)) {
			name, loads := present[i], slices.Clone(block.loads)
			if name == oursOne {
				loads[0].keys = 1
			}
			if err := b.measure(ctx, b.servers[name], block.series[name], loads); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// measure loads a server for a second. RateLimiter writes usage up to a second later:
// it is loaded for a second before, and what it uses until its Postgres has nothing
// to do is included.
func (b *httpBench) measure(ctx context.Context, p *process, s *series, loads []load) error {
	before, err := p.spent(ctx)
	if err != nil {
		return err
	}
	seconds := 1
	if p.database != 0 {
		seconds = 2
	}
	var r wrkResult
	for range seconds {
		if r, err = b.wrk(ctx, p.base, loads); err != nil {
			return err
		}
		s.requests += r.requests
	}
	p.settle()
	after, err := p.spent(ctx)
	if err != nil {
		return err
	}
	s.rate, s.p50, s.p99 = append(s.rate, r.requests/r.seconds), append(s.p50, r.p50), append(s.p99, r.p99)
	s.used.add(before, after)
	return os.Truncate(p.log, 0) // logs of all rounds could fill the disk
}

// wrkResult is what load.lua prints.
type wrkResult struct {
	requests, seconds float64
	p50, p99          float64 // ms
	refused, failed   float64 // requests: with a status from 400 on; without a response
}

// tolerance is the share of requests that may have another status than wanted: nginx
// admits one request a minute, and mixed loads end between two turns.
const tolerance = 0.01

// wrk sends loads for a second. The error is also for unwanted statuses.
func (b *httpBench) wrk(ctx context.Context, base string, loads []load) (r wrkResult, err error) {
	args := []string{"-t1", "-c" + strconv.Itoa(connections), "-d1s", "-s", "load.lua", base, "--", strconv.Itoa(rand.IntN(1 << 30))}
	wanted := 0.0
	for _, l := range loads {
		file, err := b.product.keyFile(l)
		if err != nil {
			return r, err
		}
		args = append(args, l.path, file)
		if l.path == spentPath {
			wanted += 1 / float64(len(loads))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "wrk", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if r, err = parseWrk(string(out)); err != nil {
		return r, err
	}
	if share := r.refused / r.requests; r.failed > 0 || share < wanted-tolerance || share > wanted+tolerance {
		return r, fmt.Errorf("%.4f of the requests were refused, want %.1f; %.0f failed", share, wanted, r.failed)
	}
	return r, nil
}

func parseWrk(output string) (r wrkResult, err error) {
	var micros, p50, p99 float64
	line := output[max(0, strings.LastIndex(output, "bench: ")):]
	if _, err := fmt.Sscanf(line, "bench: %f %f %f %f %f %f", &r.requests, &micros, &p50, &p99, &r.refused, &r.failed); err != nil || r.requests == 0 {
		return r, fmt.Errorf("unexpected output of wrk: %w\n%s", err, output)
	}
	r.seconds, r.p50, r.p99 = micros/1e6, p50/1e3, p99/1e3
	return r, nil
}

// String returns such as "admitted, 2,000 keys".
func (b *block) String() string {
	switch {
	case b.keys == 1:
		return b.name + ", 1 key"
	case b.keys < 1000:
		return fmt.Sprintf("%s, %d keys", b.name, b.keys)
	}
	return fmt.Sprintf("%s, %d,%03d keys", b.name, b.keys/1000, b.keys%1000)
}
