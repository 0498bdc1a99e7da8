package e2e

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
)

func TestCluster_proof_join_and_leave(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t)
	p := newClusterProof(t, []string{redis.URL()}, withPatience())
	p.during("together", func() {
		sixth := p.join(withRedis(redis.URL()))
		time.Sleep(*clusterOutage / 2)
		p.leave(sixth)
		time.Sleep(*clusterOutage / 2)
		p.awaitSpent()
	})
	p.report(1, 0)
}

// estimated is the part of a quota by which shares, which are estimates, may exceed
// it in an outage; see docs/concepts/redis-failures.md.
const estimated = 0.6

// redisFault is a Redis server that fails for some or all instances.
type redisFault struct {
	server     *testkit.RedisServer
	urls       []string
	fail, heal func()
	quotas     float64 // that may be admitted before, during and after the outage
	left       int     // instances that still use the server
	joins      bool    // one more instance starts in the outage
	keys       int     // more keys for each policy
}

// durable makes a Redis server keep its data when it is killed.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// redisFaults are proven in every run.
var redisFaults = map[string]func(*testing.T) redisFault{
	"killed": func(t *testing.T) redisFault {
		s := testkit.Redis(t, durable...)
		return redisFault{server: s, urls: []string{s.URL()}, fail: s.Kill, heal: s.Start, quotas: 1 + estimated}
	},
	"killed_and_empty": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		return redisFault{server: s, urls: []string{s.URL()}, fail: s.Kill, heal: s.Start, quotas: 2 + estimated}
	},
	"unreachable": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		proxy := testkit.NewProxy(t, s.Addr())
		return redisFault{server: s, urls: []string{"redis://" + proxy.Addr()}, fail: proxy.Freeze, heal: proxy.Thaw, quotas: 1 + estimated}
	},
}

// moreRedisFaults are proven by "make proof-cluster", too.
var moreRedisFaults = map[string]func(*testing.T) redisFault{
	"paused": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		return redisFault{server: s, urls: []string{s.URL()}, fail: s.Pause, heal: s.Continue, quotas: 1 + estimated}
	},
	"paused_with_many_keys": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		return redisFault{server: s, urls: []string{s.URL()}, fail: s.Pause, heal: s.Continue, quotas: 1 + estimated, keys: 200}
	},
	"killed_and_joined": func(t *testing.T) redisFault {
		s := testkit.Redis(t, durable...)
		return redisFault{server: s, urls: []string{s.URL()}, fail: s.Kill, heal: s.Start, quotas: 1 + estimated + 1./clusterInstances, joins: true}
	},
	"unreachable_for_two": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		proxy, direct := testkit.NewProxy(t, s.Addr()), s.URL()
		lost := "redis://" + proxy.Addr()
		return redisFault{
			server: s, urls: []string{direct, direct, direct, lost, lost}, fail: proxy.Freeze, heal: proxy.Thaw,
			quotas: 1 + (1+estimated)*2/clusterInstances, left: 3,
		}
	},
	"answers_lost": func(t *testing.T) redisFault {
		s := testkit.Redis(t)
		proxy := testkit.NewProxy(t, s.Addr())
		return redisFault{
			server: s, urls: []string{"redis://" + proxy.Addr()}, quotas: 1 + estimated,
			fail: proxy.FreezeResponses, heal: proxy.Thaw,
		}
	},
}

// TestCluster_proof_outage checks what is admitted before, during and after an
// outage of Redis: about one quota.
func TestCluster_proof_outage(t *testing.T) {
	faults := maps.Clone(redisFaults)
	if long() {
		maps.Copy(faults, moreRedisFaults)
	}
	for name, setup := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			p := newClusterProof(t, f.urls)
			p.addKeys(f.keys)
			p.awaitCount()
			commands := commandRates{}
			commands.during(f.server, "before", func() {
				p.during("before", p.awaitBegun)
			})
			f.fail()
			if f.joins {
				p.join(withRedis(f.urls[0]))
			}
			p.during("outage", func() {
				time.Sleep(*clusterOutage)
				p.await(f.left)
			})
			f.heal()
			commands.during(f.server, "after", func() {
				p.during("after", func() { p.await(len(p.apps)) })
			})
			commands.during(f.server, "together", func() {
				p.during("together", func() {
					time.Sleep(*clusterOutage / 4)
					if f.keys == 0 { // many keys aren't spent
						p.awaitSpent()
					}
				})
			})
			p.report(f.quotas, 2*clusterInstances)
			t.Logf("commands in the busiest quarter of a second: %v", commands)
			if worse := p.phaseOf("outage").quantile(0.99) - p.phaseOf("together").quantile(0.99); long() && worse > maxWorse {
				t.Errorf("the p99 is %s worse in the outage; want at most %s", worse, maxWorse)
			}
			reports := len(p.keys) * len(p.apps) * reportCommands
			if usual := max(commands["before"], commands["together"]); long() && commands["after"] > maxHerd*usual+reports {
				t.Errorf("got %d commands in a quarter of a second after the outage; want at most %d × %d + %d", commands["after"], maxHerd, usual, reports)
			}
		})
	}
}

const (
	// maxWorse is by how much an outage may increase the 99th percentile of response
	// times: a little more than the default of REDIS_TIMEOUT.
	maxWorse = 60 * time.Millisecond
	// maxHerd is the rate of commands after an outage, relative to that without one.
	// To it come the reports: each instance reports each counter once in a quarter
	// of a second, with reportCommands commands.
	maxHerd        = 2
	reportCommands = 3
)

// commandRates is the most commands that a Redis server processed in a quarter of a
// second, by phase.
type commandRates map[string]int

// during measures while do runs.
func (r commandRates) during(server *testkit.RedisServer, phase string, do func()) {
	done := make(chan struct{})
	var most int
	var sampler sync.WaitGroup
	sampler.Go(func() {
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for before := processed(server); ; {
			select {
			case <-done:
				return
			case <-ticker.C:
				now := processed(server)
				most, before = max(most, now-before), now
			}
		}
	})
	defer func() {
		close(done)
		sampler.Wait()
		r[phase] = most
	}()
	do()
}

// processed returns the number of commands that a server has processed.
func processed(server *testkit.RedisServer) int {
	_, rest, _ := strings.Cut(server.Do("INFO", "stats"), "total_commands_processed:")
	text, _, _ := strings.Cut(rest, "\r\n")
	n, _ := strconv.Atoi(text)
	return n
}

// TestCluster_proof_promotion checks what is admitted while the primary is killed
// and its replica promoted.
func TestCluster_proof_promotion(t *testing.T) {
	t.Parallel()
	set := testkit.NewRedisSentinels(t)
	p := newClusterProof(t, []string{set.URL()})
	p.awaitCount()
	p.during("before", p.awaitBegun)
	p.during("promotion", func() {
		set.Primary.Kill()
		set.WaitPromoted()
		p.await(clusterInstances)
	})
	p.during("together", p.awaitSpent)
	p.report(2+estimated, 2*clusterInstances)
}

// TestCluster_proof_clock checks that an instance whose clock is an hour off
// admits no more.
func TestCluster_proof_clock(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t).URL()
	p := newClusterProof(t, []string{redis}, withPatience())
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		p.join(withRedis(redis), withSkew(ahead))
	}
	p.during("together", func() {
		time.Sleep(*clusterOutage)
		p.awaitSpent()
	})
	p.report(1, 0)
}
