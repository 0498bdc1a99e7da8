package e2e

import (
	"testing"
	"time"

	"ratelimiter/internal/testkit"
)

// TestCluster_proof_broken checks that the proofs find broken instances.
func TestCluster_proof_broken(t *testing.T) {
	if !long() {
		t.Skip("'make proof-cluster' runs it: the variants spend several quotas, which takes minutes with the race detector")
	}
	for name, broken := range map[string]func(*testing.T) error{
		"each instance counts alone": func(t *testing.T) error {
			var alone []string
			for range clusterInstances {
				alone = append(alone, testkit.Redis(t).URL())
			}
			p := newClusterProof(t, alone, withPatience())
			p.during("together", p.awaitSpent)
			return p.check(1, 0)
		},
		"counters are forgotten": func(t *testing.T) error {
			redis := testkit.Redis(t)
			p := newClusterProof(t, []string{redis.URL()}, withPatience())
			p.during("before", p.awaitSpent)
			redis.Do("FLUSHALL")
			p.during("after", p.awaitSpent)
			return p.check(1, 0)
		},
		"an instance counts by its own clock": func(t *testing.T) error {
			redis := testkit.Redis(t).URL()
			p := newClusterProof(t, []string{redis}, withPatience())
			p.join(withRedis(redis), func(o *appOptions) {
				o.RedisNow = func() time.Time { return time.Now().Add(time.Hour) }
			})
			p.during("together", func() {
				p.apps[0].await("twice the quota is admitted", func() bool { return p.admitted[0].Load() > 2*provenPolicies[0].burst })
			})
			return p.check(1, 0)
		},
		"no key is served while Postgres is down": func(t *testing.T) error {
			return newPostgresProof(t, withoutStale()).run()
		},
		"each request looks up its key": func(t *testing.T) error {
			return newPostgresProof(t, withCacheTTL(time.Nanosecond)).run()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := broken(t); err == nil {
				t.Error("the proof found no fault")
			} else {
				t.Log(err)
			}
		})
	}
}
