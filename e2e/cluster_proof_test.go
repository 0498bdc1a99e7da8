package e2e

import (
	"context"
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

// clusterOutage is how long Redis fails in the proofs; "make proof-cluster" sets 60 s.
var clusterOutage = flag.Duration("cluster-outage", 2*time.Second, "how long Redis fails in the proofs of several instances")

// clusterInstances is the number of instances in the proofs.
const clusterInstances = 5

// provenPolicies are the policies of the proofs, one for each key. Calendar quotas
// have proofs of their own, in internal/allowance. Periods of an hour
// make one unit too many visible; the second bucket refills while it is spent.
var provenPolicies = []provenPolicy{
	{"token-bucket", `{"name":"p","algorithm":"token_bucket","limit":600,"period":"1h"}`, 600, 600, time.Hour},
	{"refilling", `{"name":"p","algorithm":"token_bucket","limit":100,"period":"1s","burst":50}`, 50, 100, time.Second},
	{"leaky-bucket", `{"name":"p","algorithm":"leaky_bucket","limit":600,"period":"1h","max_wait":"1ms"}`, 1, 600, time.Hour},
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
	redis    string
	database string
	options  []appOption // of all instances
	keys     []string    // one for each policy
	began    time.Time
	client   http.Client

	mu       sync.Mutex
	apps     []*testApp
	phase    string
	times    map[string][]time.Duration // of responses, by phase
	admitted []atomic.Int64             // by policy
	failed   atomic.Int64               // responses other than 200 and 429
}

func newClusterProof(t *testing.T, redis string, options ...appOption) *clusterProof {
	t.Helper()
	p := &clusterProof{
		t: t, redis: redis, options: options, database: testkit.DatabaseURL(t), times: map[string][]time.Duration{},
		client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}, admitted: make([]atomic.Int64, len(provenPolicies)),
	}
	t.Cleanup(p.client.CloseIdleConnections)
	for range clusterInstances {
		p.join()
	}
	for _, app := range p.apps { // each has counted the others, which takes 5 s
		app.await("all instances are counted", func() bool { return app.metric("ratelimiter_instances") == strconv.Itoa(clusterInstances) })
	}
	p.began = time.Now()
	for _, policy := range provenPolicies {
		p.apps[0].plan(policy.name, "["+policy.policy+"]")
		p.keys = append(p.keys, p.apps[0].key(models.NewKey{Plan: policy.name}))
	}
	return p
}

// join starts an instance.
func (p *clusterProof) join(options ...appOption) *testApp {
	app := newApp(p.t, append(append(options, p.options...), onDatabase(p.database), withRedis(p.redis), onWallClock())...)
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
	p.mu.Lock()
	p.phase = phase
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(p.t.Context())
	var senders sync.WaitGroup
	for s := range clusterInstances {
		senders.Go(func() {
			for i := s; ctx.Err() == nil; i++ {
				p.mu.Lock()
				app := p.apps[i%len(p.apps)]
				p.mu.Unlock()
				p.send(app, i/len(p.apps)%len(p.keys))
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	do()
	cancel()
	senders.Wait()
}

// send sends a request for a policy.
func (p *clusterProof) send(app *testApp, policy int) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, app.Base()+"/v1/products/none", nil)
	if err != nil {
		p.t.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+p.keys[policy])
	began := time.Now()
	response, err := p.client.Do(request)
	if err != nil {
		return // the instance has left
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotFound: // charged under requests
		p.admitted[policy].Add(1)
	case http.StatusTooManyRequests:
	default:
		p.failed.Add(1)
		p.t.Errorf("%s: got status %d", provenPolicies[policy].name, response.StatusCode)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[p.phase] = append(p.times[p.phase], time.Since(began))
}

// report fails the test if more was admitted than quotas times each policy's quota
// and extra units, and prints the figures. Units of reports that were lost on their
// way to Redis are added.
func (p *clusterProof) report(quotas float64, extra int64) {
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
	extra += int64(dropped)
	var lines []string
	for i, policy := range provenPolicies {
		got, want := p.admitted[i].Load(), policy.quota(took)
		lines = append(lines, fmt.Sprintf("%s %d of %d", policy.name, got, want))
		if got > int64(quotas*float64(want))+extra {
			p.t.Errorf("%s: got %d admitted in %s; want at most %g × %d + %d", policy.name, got, took, quotas, want, extra)
		}
	}
	for phase, list := range p.times {
		slices.Sort(list)
		lines = append(lines, fmt.Sprintf("%s: %d requests, p50 %s, p99 %s", phase, len(list), list[len(list)/2], list[len(list)*99/100]))
	}
	p.t.Logf("%d failed, %d units of reports dropped; %s", p.failed.Load(), dropped, strings.Join(lines, "; "))
}

// await waits until Redis is up, 1, or down, 0, for all instances.
func (p *clusterProof) await(up string) {
	for _, app := range p.apps {
		app.await("redis_up is "+up, func() bool { return app.metric(`ratelimiter_redis_up{of="keys"}`) == up })
	}
}

func TestCluster_proof_join_and_leave(t *testing.T) {
	t.Parallel()
	p := newClusterProof(t, testkit.Redis(t).URL(), withPatience())
	p.during("together", func() {
		sixth := p.join()
		time.Sleep(*clusterOutage / 2)
		p.leave(sixth)
		time.Sleep(*clusterOutage / 2)
	})
	p.report(1, 0)
}

// estimated is the part of a quota by which shares, which are estimates, may exceed
// it in an outage; see docs/concepts/redis-failures.md.
const estimated = 0.6

// TestCluster_proof_outage checks what is admitted before, during and after an
// outage of Redis: about one quota.
func TestCluster_proof_outage(t *testing.T) {
	for _, c := range []struct {
		name       string
		fail, heal func(*testkit.RedisServer)
		settings   []string
		quotas     float64
	}{
		{"paused", (*testkit.RedisServer).Pause, (*testkit.RedisServer).Continue, nil, 1 + estimated},
		{"killed", (*testkit.RedisServer).Kill, (*testkit.RedisServer).Start, []string{"--appendonly", "yes", "--appendfsync", "always"}, 1 + estimated},
		{"killed_and_empty", (*testkit.RedisServer).Kill, (*testkit.RedisServer).Start, nil, 2 + estimated},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			redis := testkit.Redis(t, c.settings...)
			p := newClusterProof(t, redis.URL())
			p.during("before", func() { time.Sleep(*clusterOutage / 4) })
			c.fail(redis)
			p.during("outage", func() {
				time.Sleep(*clusterOutage)
				p.await("0")
			})
			c.heal(redis)
			p.during("after", func() { p.await("1") })
			p.during("together", func() { time.Sleep(*clusterOutage / 4) })
			p.report(c.quotas, 2*clusterInstances)
		})
	}
}

// TestCluster_proof_promotion checks what is admitted while the primary is killed
// and its replica promoted.
func TestCluster_proof_promotion(t *testing.T) {
	t.Parallel()
	set := testkit.NewRedisSentinels(t)
	p := newClusterProof(t, set.URL())
	p.during("before", func() { time.Sleep(*clusterOutage / 4) })
	p.during("promotion", func() {
		set.Primary.Kill()
		set.WaitPromoted()
		p.await("1")
	})
	p.during("together", func() { time.Sleep(*clusterOutage / 4) })
	p.report(2+estimated, 2*clusterInstances)
}

// TestCluster_proof_clock checks that an instance whose clock is an hour off
// admits no more.
func TestCluster_proof_clock(t *testing.T) {
	t.Parallel()
	p := newClusterProof(t, testkit.Redis(t).URL(), withPatience())
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		p.join(withSkew(ahead))
	}
	p.during("together", func() { time.Sleep(*clusterOutage) })
	p.report(1, 0)
}
