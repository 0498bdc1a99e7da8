package quota

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// heldResolver is a Resolver whose queries can be held back and are counted, with
// the keys k1 to k2000 in its database.
type heldResolver struct {
	*Resolver
	db      *pgxpool.Pool // without the proxy
	proxy   *testkit.Proxy
	queries *queryCounter
}

func newHeldResolver(t *testing.T) *heldResolver {
	t.Helper()
	address := testkit.DatabaseURL(t)
	h := &heldResolver{queries: &queryCounter{}}
	var err error
	if h.db, err = pgxpool.New(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.db.Close)
	if _, err := h.db.Exec(t.Context(), insertKeys, 2000); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	h.proxy = testkit.NewProxy(t, u.Host)
	u.Host = h.proxy.Addr()
	cfg, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns, cfg.ConnConfig.Tracer = 2*maxQueries, h.queries
	slow, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	connect(t, slow)
	if h.Resolver, err = NewResolver(slow, anyKey{}, NewEnforcementMode(slow, noInvalidator{}), CacheConfig{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// connect opens all connections of the pool.
func connect(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
}

// resolve resolves keys at once and returns their errors. Once all of them but
// those whose queries are held back wait, it calls waiting and releases the queries.
func (h *heldResolver) resolve(t *testing.T, ids []string, waiting func()) []error {
	t.Helper()
	h.proxy.HoldResponses()
	results := make([]error, len(ids))
	var resolves sync.WaitGroup
	for i, id := range ids {
		resolves.Go(func() { _, _, results[i] = h.Resolve(t.Context(), id, time.Now()) })
	}
	testkit.Await(t, 20*time.Second, "all reads but those that run queries wait", func() bool {
		h.reads.mu.Lock()
		defer h.reads.mu.Unlock()
		return len(h.reads.waiting) == max(0, len(ids)-maxQueries) && int(h.queries.queries.Load()) == min(len(ids), maxQueries)
	})
	waiting()
	h.proxy.ReleaseResponses()
	resolves.Wait()
	return results
}

// keysFrom returns the ids of n keys of insertKeys.
func keysFrom(first, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("k", first+i))
	}
	return ids
}

// TestKeyReads_share_queries checks that a read that meets fewer than maxQueries
// queries begins one at once, and that the others share the next ones.
func TestKeyReads_share_queries(t *testing.T) {
	h := newHeldResolver(t)
	const keys = 1000
	for i, err := range h.resolve(t, keysFrom(1, keys), func() {}) {
		if err != nil {
			t.Fatalf("k%d: %v", i+1, err)
		}
	}
	const want = maxQueries + (keys-maxQueries+keysPerQuery-1)/keysPerQuery
	if n := h.queries.queries.Load(); n != want {
		t.Errorf("%d queries for %d keys, want %d", n, keys, want)
	}
	if h.reads.queries != 0 {
		t.Errorf("%d queries count as running after the last", h.reads.queries)
	}
}

// TestKeyReads_results checks that each read of a shared query gets its own result.
func TestKeyReads_results(t *testing.T) {
	h := newHeldResolver(t)
	for _, statement := range []string{
		`UPDATE api_keys SET overrides = '["no override"]' WHERE id = 'k10'`,
		`INSERT INTO plans (name, policies) VALUES ('unreadable', '[{"name":"x","algorithm":"none","limit":1}]')`,
		`UPDATE api_keys SET plan = 'unreadable' WHERE id = 'k11'`,
		`UPDATE api_keys SET revoked_at = now() WHERE id = 'k12'`,
	} {
		if _, err := h.db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	ids := append(keysFrom(1, 40), "unknown")
	want := map[string]error{"k10": models.ErrUnavailable, "k11": models.ErrUnavailable, "k12": models.ErrInvalidKey, "unknown": models.ErrInvalidKey}
	for i, err := range h.resolve(t, ids, func() {}) {
		if !errors.Is(err, want[ids[i]]) || (err == nil) != (want[ids[i]] == nil) {
			t.Errorf("%s: got error %v; want %v", ids[i], err, want[ids[i]])
		}
		key, _, _ := h.Cached(ids[i], time.Now())
		if err == nil && (key == nil || key.ID != ids[i]) {
			t.Errorf("%s: got the key %+v", ids[i], key)
		}
	}
}

// TestKeyReads_abandoned checks that a read that ends early doesn't take others
// with it.
func TestKeyReads_abandoned(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		h := newHeldResolver(t)
		ctx, cancel := context.WithCancel(t.Context())
		var abandoned sync.WaitGroup
		for i, err := range h.resolve(t, keysFrom(1, 10), func() {
			abandoned.Go(func() {
				if _, err := h.reads.read(ctx, "k100"); !errors.Is(err, models.ErrUnavailable) {
					t.Errorf("read returned %v", err)
				}
			})
			testkit.Await(t, 20*time.Second, "the read waits", func() bool { return h.waiting() == 10-maxQueries+1 })
			cancel()
			abandoned.Wait()
			if n := h.waiting(); n != 10-maxQueries {
				t.Errorf("%d reads wait", n)
			}
		}) {
			if err != nil {
				t.Errorf("k%d: %v", i+1, err)
			}
		}
	})
	t.Run("has to run a query", func(t *testing.T) {
		var k keyReads
		for range maxQueries {
			k.enter(&keyRead{})
		}
		r := &keyRead{query: make(chan []*keyRead, 1)}
		k.enter(r)
		k.leave()
		if batch := k.abandon(r); len(batch) != 1 || batch[0] != r {
			t.Errorf("got %v; want r, as nobody else runs its query", batch)
		}
	})
}

// TestKeyReads_last_runs checks that the last of the reads that share a query runs
// it: it has the most time left, and the others may time out.
func TestKeyReads_last_runs(t *testing.T) {
	var k keyReads
	for range maxQueries {
		k.enter(&keyRead{})
	}
	reads := make([]*keyRead, keysPerQuery+1)
	for i := range reads {
		reads[i] = &keyRead{query: make(chan []*keyRead, 1)}
		k.enter(reads[i])
	}
	for _, want := range [][]*keyRead{reads[:keysPerQuery], reads[keysPerQuery:]} {
		k.leave()
		select {
		case batch := <-want[len(want)-1].query:
			if !slices.Equal(batch, want) {
				t.Errorf("got %d reads, want the next %d", len(batch), len(want))
			}
		default:
			t.Error("the last read doesn't run the query")
		}
	}
}

func (h *heldResolver) waiting() int {
	h.reads.mu.Lock()
	defer h.reads.mu.Unlock()
	return len(h.reads.waiting)
}
