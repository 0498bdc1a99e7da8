package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// clusterOutage is how long a server fails in the proofs; "make proof-cluster" sets 60 s.
var clusterOutage = flag.Duration("cluster-outage", 2*time.Second, "how long a server fails in the proofs of several instances")

// long reports whether servers fail long enough to compare times and rates.
func long() bool { return *clusterOutage >= 10*time.Second }

// clusterInstances is the number of instances in the proofs.
const clusterInstances = 5

// provenPolicies are the policies of the proofs, one for each key. Calendar quotas
// have proofs of their own, in internal/allowance. Long periods make one
// unit too many visible; the second and third are refilled while they are spent.
var provenPolicies = []provenPolicy{
	{"token-bucket", `{"name":"p","algorithm":"token_bucket","limit":300,"period":"1h"}`, 300, 300, time.Hour},
	{"refilling", `{"name":"p","algorithm":"token_bucket","limit":10,"period":"1s","burst":50}`, 50, 10, time.Second},
	{"leaky-bucket", `{"name":"p","algorithm":"leaky_bucket","limit":10,"period":"1s","max_wait":"1ms"}`, 1, 10, time.Second},
	{"fixed-window", `{"name":"p","algorithm":"fixed_window","limit":300,"period":"10d"}`, 300, 0, time.Hour},
	{"sliding-window", `{"name":"p","algorithm":"sliding_window","limit":300,"period":"10d"}`, 300, 0, time.Hour},
	{"sliding-log", `{"name":"p","algorithm":"sliding_log","limit":300,"period":"10d"}`, 300, 0, time.Hour},
}

type provenPolicy struct {
	name, policy string
	burst, limit int64 // limit units are added in a period
	period       time.Duration
}

// quota returns the units that may be admitted in d.
func (p provenPolicy) quota(d time.Duration) int64 {
	return p.burst + int64(float64(p.limit)*d.Seconds()/p.period.Seconds()) + 1
}

// clusterProof sends requests to instances and counts what they admit.
type clusterProof struct {
	t        *testing.T
	database string
	options  []appOption // of all instances
	keys     []string    // the same number for each policy, in turn
	began    time.Time   // of the first phase
	client   http.Client

	mu       sync.Mutex
	apps     []*testApp
	phase    *proofPhase
	phases   []*proofPhase
	statuses map[int]int    // responses other than those to requests admitted or over a limit
	admitted []atomic.Int64 // by policy
	refused  []atomic.Int64 // by policy
}

// proofPhase is a part of a proof.
type proofPhase struct {
	name  string
	times []time.Duration // of responses
}

// quantile returns the time that the part q of the responses took at most.
func (p *proofPhase) quantile(q float64) time.Duration {
	if len(p.times) == 0 {
		return 0
	}
	slices.Sort(p.times)
	return p.times[int(q*float64(len(p.times)-1))]
}

// phaseOf returns a phase by its name.
func (p *clusterProof) phaseOf(name string) *proofPhase {
	return p.phases[slices.IndexFunc(p.phases, func(phase *proofPhase) bool { return phase.name == name })]
}

// newClusterProof starts the instances. They use the Redis servers in turn.
func newClusterProof(t *testing.T, redis []string, options ...appOption) *clusterProof {
	t.Helper()
	return newClusterProofOn(t, testkit.DatabaseURL(t), redis, options...)
}

func newClusterProofOn(t *testing.T, database string, redis []string, options ...appOption) *clusterProof {
	t.Helper()
	p := &clusterProof{
		t: t, options: options, database: database, statuses: map[int]int{},
		client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}, admitted: make([]atomic.Int64, len(provenPolicies)), refused: make([]atomic.Int64, len(provenPolicies)),
	}
	t.Cleanup(p.client.CloseIdleConnections)
	for i := range clusterInstances {
		p.join(withRedis(redis[i%len(redis)]))
	}
	for _, policy := range provenPolicies {
		p.apps[0].plan(policy.name, "["+policy.policy+"]")
	}
	p.addKeys(1)
	return p
}

// addKeys creates n keys for each policy.
func (p *clusterProof) addKeys(n int) {
	for range n {
		for _, policy := range provenPolicies {
			p.keys = append(p.keys, p.apps[0].key(models.NewKey{Plan: policy.name}))
		}
	}
}

// awaitCount waits until each instance has counted the others, which takes 5 s.
func (p *clusterProof) awaitCount() {
	for _, app := range p.apps {
		app.await("all instances are counted", func() bool { return app.metric("ratelimiter_instances") == strconv.Itoa(len(p.apps)) })
	}
}

// awaitBegun waits until about a third of the long quotas is spent.
func (p *clusterProof) awaitBegun() {
	p.apps[0].await("a third is spent", func() bool { return p.admitted[0].Load() > provenPolicies[0].burst/3 })
}

// awaitSpent waits until the quota of each policy is spent.
func (p *clusterProof) awaitSpent() {
	for i := range p.refused {
		before := p.refused[i].Load()
		p.apps[0].await(provenPolicies[i].name+" is spent", func() bool { return p.refused[i].Load() > before })
	}
}

// join starts an instance.
func (p *clusterProof) join(options ...appOption) *testApp {
	app := newApp(p.t, slices.Concat([]appOption{onDatabase(p.database), onWallClock()}, p.options, options)...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps = append(p.apps, app)
	return app
}

// leave sends an instance no more requests and stops it.
func (p *clusterProof) leave(app *testApp) {
	p.mu.Lock()
	p.apps = slices.DeleteFunc(p.apps, func(a *testApp) bool { return a == app })
	p.mu.Unlock()
	if err := app.app.Stop(context.Background()); err != nil {
		p.t.Error(err)
	}
}

// during sends requests for all policies to all instances while do runs.
func (p *clusterProof) during(phase string, do func()) {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.mu.Lock()
	p.phase = &proofPhase{name: phase}
	p.phases = append(p.phases, p.phase)
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(p.t.Context())
	var senders sync.WaitGroup
	defer func() {
		cancel()
		senders.Wait()
	}()
	for s := range clusterInstances {
		senders.Go(func() {
			for i := s; ctx.Err() == nil; i++ {
				p.mu.Lock()
				n := len(p.apps)
				app := p.apps[i%n]
				p.mu.Unlock()
				p.send(app, i/n%len(p.keys))
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	do()
}

// send sends a request of a key. It is charged and needs no database: its parameter
// is invalid.
func (p *clusterProof) send(app *testApp, key int) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, app.Base()+"/v1/products?limit=none", nil)
	if err != nil {
		p.t.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+p.keys[key])
	began := time.Now()
	response, err := p.client.Do(request)
	if err != nil {
		return // the instance has left
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	took, policy := time.Since(began), key%len(provenPolicies)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase.times = append(p.phase.times, took)
	switch response.StatusCode {
	case http.StatusUnprocessableEntity:
		p.admitted[policy].Add(1)
	case http.StatusTooManyRequests:
		p.refused[policy].Add(1)
	default:
		p.statuses[response.StatusCode]++
	}
}

// check returns what breaks the promise: responses that failed, and policies of which
// more was admitted than, for each key, quotas times the quota and extra units. Units of reports
// that were lost on their way to Redis are added. It logs the figures.
func (p *clusterProof) check(quotas float64, extra int64) error {
	p.t.Helper()
	took := time.Since(p.began)
	dropped := 0
	for _, app := range p.apps {
		n, err := strconv.Atoi(app.metric(`ratelimiter_redis_units_dropped_total{of="keys"}`))
		if err != nil {
			p.t.Error(err)
		}
		dropped += n
	}
	keys := len(p.keys) / len(provenPolicies)
	extra, quotas = extra*int64(keys)+int64(dropped), quotas*float64(keys)
	var broken error
	if len(p.statuses) > 0 {
		broken = fmt.Errorf("got responses by status %v; want none", p.statuses)
	}
	lines := []string{fmt.Sprintf("%d units of reports dropped", dropped)}
	for i, policy := range provenPolicies {
		got, want := p.admitted[i].Load(), policy.quota(took)
		lines = append(lines, fmt.Sprintf("%s: %d of %d, %.2f quotas", policy.name, got, want, float64(got)/float64(want)/float64(keys)))
		if got > int64(quotas*float64(want))+extra {
			broken = errors.Join(broken, fmt.Errorf("%s: got %d admitted in %s; want at most %g × %d + %d", policy.name, got, took, quotas, want, extra))
		}
	}
	for _, phase := range p.phases {
		lines = append(lines, fmt.Sprintf("%s: %d requests, p50 %s, p99 %s, longest %s", phase.name, len(phase.times), phase.quantile(0.5), phase.quantile(0.99), phase.quantile(1)))
	}
	p.t.Log(strings.Join(lines, "\n"))
	return broken
}

// report fails the test if check finds that the promise is broken.
func (p *clusterProof) report(quotas float64, extra int64) {
	p.t.Helper()
	if err := p.check(quotas, extra); err != nil {
		p.t.Error(err)
	}
}

// await waits until n instances use Redis.
func (p *clusterProof) await(n int) {
	p.apps[0].await(fmt.Sprintf("%d instances use Redis", n), func() bool {
		up := 0
		for _, app := range p.apps {
			if app.metric(`ratelimiter_redis_up{of="keys"}`) == "1" {
				up++
			}
		}
		return up == n
	})
}
