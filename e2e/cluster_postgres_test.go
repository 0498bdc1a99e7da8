package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// postgresProof is a clusterProof whose Postgres fails, with the lookups of each
// instance.
type postgresProof struct {
	*clusterProof
	proxy   *testkit.Proxy
	ttl     time.Duration // of cached keys
	lookups [clusterInstances]lookupTimes
}

func newPostgresProof(t *testing.T, options ...appOption) *postgresProof {
	t.Helper()
	u, err := url.Parse(testkit.DatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	// Keys expire in the outage.
	p := &postgresProof{proxy: testkit.NewProxy(t, u.Host), ttl: *clusterOutage / 2}
	u.Host = p.proxy.Addr()
	n := 0
	counted := func(o *appOptions) {
		withQuotaPool(tracedPool(t, u.String(), &p.lookups[n]))(o)
		n++
	}
	options = append([]appOption{withPatience(), withCacheTTL(p.ttl), watching(), counted}, options...)
	p.clusterProof = newClusterProofOn(t, u.String(), []string{testkit.Redis(t).URL()}, options...)
	return p
}

// lookupTimes records when keys are looked up, by id. Queries that don't reach
// Postgres aren't lookups. A query may look up several keys.
type lookupTimes struct {
	mu    sync.Mutex
	times map[string][]time.Time
}

// lookup is a running query.
type lookup struct {
	ids []string
	at  time.Time
}

type lookupKey struct{}

func (*lookupTimes) TraceQueryStart(ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData) context.Context {
	if !strings.Contains(query.SQL, "FROM api_keys k JOIN plans") {
		return ctx
	}
	ids, _ := query.Args[len(query.Args)-1].([]string)
	return context.WithValue(ctx, lookupKey{}, lookup{ids, time.Now()})
}

func (l *lookupTimes) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, end pgx.TraceQueryEndData) {
	query, found := ctx.Value(lookupKey{}).(lookup)
	if !found || end.Err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times == nil {
		l.times = map[string][]time.Time{}
	}
	for _, id := range query.ids {
		l.times[id] = append(l.times[id], query.at)
	}
}

// since returns when a key was looked up after began.
func (l *lookupTimes) since(began time.Time, id string) (times []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.times[id] {
		if at.After(began) {
			times = append(times, at)
		}
	}
	return times
}

// allLookedUp reports whether every instance has looked up every key since began.
func (p *postgresProof) allLookedUp(began time.Time) bool {
	for i := range p.lookups {
		for _, key := range p.keys {
			if len(p.lookups[i].since(began, idOf(key))) == 0 {
				return false
			}
		}
	}
	return true
}

// lifetime is the part of its TTL for which a key that was just loaded isn't loaded
// again: entries get 90 % or more of the TTL and are refreshed after 80 % of that, or
// later, when the change log is read.
const lifetime = 0.72

// checkLookups returns an error if an instance looked up a key twice in the lifetime
// of what it had loaded. It logs how many there were.
func (p *postgresProof) checkLookups(back time.Time) (broken error) {
	first, more := 0, 0
	for i := range p.lookups {
		for _, key := range p.keys {
			times := p.lookups[i].since(back, idOf(key))
			first += min(1, len(times))
			for n := 1; n < len(times); n++ {
				if gap := times[n].Sub(times[n-1]); gap < time.Duration(lifetime*float64(p.ttl)) {
					more++
					broken = fmt.Errorf("instance %d looked up %s again after %s; want one query", i, idOf(key), gap)
				}
			}
		}
	}
	p.t.Logf("on recovery, %d keys of instances were looked up, and %d lookups were repeated", first, more)
	return broken
}

// changesRead returns when the app last read the change log, or some time before.
func (a *testApp) changesRead() time.Time {
	asked := time.Now()
	lag, err := strconv.ParseFloat(a.metric("ratelimiter_change_feed_lag_seconds"), 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return asked.Add(-time.Duration(lag * float64(time.Second)))
}

// run fails Postgres and returns what breaks the promise.
func (p *postgresProof) run() error {
	unknown := p.apps[0].key(models.NewKey{Plan: provenPolicies[0].name})
	began := time.Now()
	for _, app := range p.apps { // otherwise the new keys are loaded again on recovery
		app.await("the change log is read", func() bool { return app.changesRead().After(began) })
	}
	p.during("before", func() { p.apps[0].await("all keys are known", func() bool { return p.allLookedUp(began) }) })
	p.proxy.Cut()
	var broken error
	p.during("Postgres down", func() {
		time.Sleep(*clusterOutage)
		for _, app := range p.apps {
			got := app.As(unknown).Get("/v1/products")
			if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
				broken = errors.Join(broken, fmt.Errorf("unknown key: got %d; want 503 with Retry-After", got.Status))
			}
		}
	})
	back := time.Now()
	p.proxy.Mend()
	p.during("after", func() {
		p.awaitSpent()
		for _, app := range p.apps {
			app.await("the unknown key is served", func() bool { return app.As(unknown).Get("/v1/me").Status == http.StatusOK })
		}
	})
	return errors.Join(broken, p.checkLookups(back), p.check(1, 0))
}

// TestCluster_proof_Postgres_down checks that known keys are served and counted
// together while Postgres is down, that unknown ones get 503, and that its return
// costs at most one query for each key and instance.
func TestCluster_proof_Postgres_down(t *testing.T) {
	t.Parallel()
	if err := newPostgresProof(t).run(); err != nil {
		t.Error(err)
	}
}
