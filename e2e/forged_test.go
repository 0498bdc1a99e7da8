package e2e

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
)

// forgedKey returns a well-formed key with this id and a random secret.
func forgedKey(id string) string {
	body := "rl_live_" + id + "_" + randomBase62(22)
	sum, digits := crc32.ChecksumIEEE([]byte(body)), [6]byte{}
	for i := range digits {
		digits[5-i] = base62[sum%62]
		sum /= 62
	}
	return body + string(digits[:])
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func randomBase62(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = base62[rand.N(62)]
	}
	return string(text)
}

// randomIn48 returns an address of 2001:db8:1::/48.
func randomIn48() string {
	return fmt.Sprintf("2001:db8:1:%x::%x", rand.N(1<<16), rand.N(1<<16))
}

// queryCounter counts queries of single keys.
type queryCounter struct {
	lookups atomic.Int64 // by the resolver
	looks   atomic.Int64 // by the filter
}

func (c *queryCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData) context.Context {
	switch {
	case strings.Contains(query.SQL, "JOIN plans"):
		c.lookups.Add(1)
	case strings.Contains(query.SQL, "LEFT JOIN api_keys"):
		c.looks.Add(1)
	}
	return ctx
}

func (*queryCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// filteringApp returns a watching app whose filter of keys is loaded, and counts
// its queries. Callers choose their address by X-Forwarded-For.
func filteringApp(t testing.TB, address string, options ...appOption) (*testApp, *queryCounter) {
	t.Helper()
	counter := &queryCounter{}
	pool := tracedPool(t, address, counter)
	app := newApp(t, append(options, onDatabase(address), watching(), withQuotaPool(pool), withTrustedProxies("127.0.0.1/32"))...)
	app.await("the filter is loaded", func() bool {
		before := counter.lookups.Load()
		app.from("192.0.2.1", forgedKey(randomBase62(12)))
		app.clock.Advance(time.Minute)
		return counter.lookups.Load() == before
	})
	return app, counter
}

// from returns the status of a request with key from an address.
func (a *testApp) from(address, key string) int {
	return a.As(key).Get("/v1/products/prd_none", "X-Forwarded-For", address).Status
}

// parallel calls do n times, in four goroutines.
func parallel(n int, do func()) {
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range n / 4 {
				do()
			}
		})
	}
	callers.Wait()
}

// Forged keys cost next to no queries, whether their id exists or not, and shut
// out no valid key.
func TestForgedKeys(t *testing.T) {
	t.Parallel()
	address := testkit.DatabaseURL(t)
	setup := newApp(t, onDatabase(address))
	valid, victim := setup.key(models.NewKey{Plan: "internal"}), setup.key(models.NewKey{Plan: "internal"})
	app, counter := filteringApp(t, address)

	lookups, looks := counter.lookups.Load(), counter.looks.Load()
	parallel(10_000, func() { app.from(randomIn48(), forgedKey(randomBase62(12))) })
	t.Logf("10,000 unknown ids: %d lookups, %d second looks", counter.lookups.Load()-lookups, counter.looks.Load()-looks)
	if l := counter.lookups.Load() - lookups; l != 0 {
		t.Errorf("got %d lookups of unknown ids; want none", l)
	}
	if l := counter.looks.Load() - looks; l != 20 { // the clock doesn't move
		t.Errorf("got %d second looks at unknown ids; want 20", l)
	}

	lookups, looks = counter.lookups.Load(), counter.looks.Load()
	parallel(1_000, func() { app.from(randomIn48(), forgedKey(idOf(victim))) })
	if l := counter.lookups.Load() - lookups; l != 0 {
		t.Errorf("got %d lookups of wrong secrets; want none", l)
	}
	if l := counter.looks.Load() - looks; l != 0 {
		t.Errorf("got %d second looks at wrong secrets; want none", l)
	}

	const attacker = "2001:db8:1:2::3"
	for range 25 {
		app.from(attacker, forgedKey(randomBase62(12)))
	}
	if got := app.from(attacker, valid); got != http.StatusNotFound {
		t.Errorf("a valid key from the attacker's network: got status %d; want 404", got)
	}
	app.clock.Advance(time.Minute)
	for _, key := range []string{forgedKey(idOf(victim)), forgedKey(randomBase62(12))} {
		lookups, looks = counter.lookups.Load(), counter.looks.Load()
		if got := app.from(attacker, key); got != http.StatusUnauthorized {
			t.Errorf("a minute later: got status %d; want 401", got)
		}
		if l, s := counter.lookups.Load()-lookups, counter.looks.Load()-looks; l != 0 || s != 1 {
			t.Errorf("a minute later: got %d lookups and %d second looks; want 0 and 1", l, s)
		}
	}
}

// A key that another instance created is valid at once.
func TestForgedKeys_new_key_on_another_instance(t *testing.T) {
	address := testkit.DatabaseURL(t)
	first, _ := filteringApp(t, address)
	second, _ := filteringApp(t, address)
	admin := first.admin()
	for range 15 {
		key := createKey(t, admin, `{"name":"new","plan":"internal"}`).Secret
		for _, app := range []*testApp{first, second} {
			if got := app.from("198.51.100.1", key); got != http.StatusNotFound {
				t.Errorf("a new key: got status %d; want 404", got)
			}
		}
	}
}

// A key that the change feed hasn't brought is valid at once, also during a flood
// of forged keys from elsewhere.
func TestForgedKeys_silent_feed(t *testing.T) {
	t.Parallel()
	address := testkit.DatabaseURL(t)
	pool, proxy := proxiedPool(t, address)
	app, _ := filteringApp(t, address, func(o *appOptions) { o.ListenDB = pool })
	proxy.Hang()
	parallel(100, func() { app.from(randomIn48(), forgedKey(randomBase62(12))) })
	if got := app.from("198.51.100.2", app.key(models.NewKey{Plan: "internal"})); got != http.StatusNotFound {
		t.Errorf("got status %d; want 404", got)
	}
}

// The change feed brings keys also to an instance that takes no second looks.
func TestForgedKeys_feed_brings_key(t *testing.T) {
	address := testkit.DatabaseURL(t)
	app, counter := filteringApp(t, address)
	flood := func() { parallel(100, func() { app.from(randomIn48(), forgedKey(randomBase62(12))) }) }
	flood()
	key := app.key(models.NewKey{Plan: "internal"})
	app.exec(`SELECT pg_notify('ratelimiter_changes', '')`)
	app.await("the feed brings the key", func() bool { return app.from(randomIn48(), key) == http.StatusNotFound })
	app.exec(`UPDATE api_keys SET revoked_at = now(), version = version + 1 WHERE id = $1`, idOf(key))
	app.exec(`SELECT pg_notify('ratelimiter_changes', '')`)
	app.await("the feed brings the revocation", func() bool { return app.from(randomIn48(), key) != http.StatusNotFound })
	app.await("the key has left the filter", func() bool {
		before := counter.lookups.Load()
		app.from(randomIn48(), key)
		return counter.lookups.Load() == before
	})
}
