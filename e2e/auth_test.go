package e2e

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
)

func TestAuth_headers(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{})
	for _, header := range [][]string{
		{"Authorization", "Bearer " + key},
		{"Authorization", "bearer  " + key},
		{"X-API-Key", key},
		{"x-api-key", key},
	} {
		app.Get("/v1/products", header...).Want(http.StatusOK)
	}
}

func TestAuth_malformed_credentials(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{})
	cases := []struct {
		name, path, detail string
		header             []string
	}{
		{"none", "/v1/products", "Send your API key", nil},
		{"both", "/v1/products", "both", []string{"Authorization", "Bearer " + key, "X-API-Key", key}},
		{"twice", "/v1/products", "repeated", []string{"X-API-Key", key, "X-API-Key", key}},
		{"twice, bearer", "/v1/products", "repeated", []string{"Authorization", "Bearer " + key, "Authorization", "Bearer " + key}},
		{"basic", "/v1/products", "Bearer KEY", []string{"Authorization", "Basic " + key}},
		{"empty", "/v1/products", "empty", []string{"Authorization", "Bearer "}},
		{"too long", "/v1/products", "too long", []string{"X-API-Key", strings.Repeat("x", 129)}},
		{"in the query", "/v1/products?api_key=" + key, "URL", []string{"X-API-Key", key}},
		{"in the query, encoded", "/v1/products?k=" + strings.ReplaceAll(key, "_", "%5f"), "URL", nil},
		{"in an invalid query", "/v1/products?a;b=" + key, "URL", nil},
		{"in the path", "/v1/products/" + key, "URL", []string{"X-API-Key", key}},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			response := app.Get(test.path, test.header...)
			response.Want(http.StatusUnauthorized)
			var problem middleware.Problem
			response.JSON(&problem)
			if !strings.Contains(problem.Detail, test.detail) {
				t.Errorf("got detail %q; want it to contain %q", problem.Detail, test.detail)
			}
			if got := response.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
				t.Errorf("got WWW-Authenticate %q; want a Bearer challenge", got)
			}
			if strings.Contains(string(response.Body), key) {
				t.Errorf("the response contains the key: %s", response.Body)
			}
		})
	}
}

func TestAuth_invalid_keys_get_equal_responses(t *testing.T) {
	app := newApp(t)
	past := time.Now().Add(-time.Minute)
	expired := app.key(models.NewKey{ExpiresAt: &past})
	revoked := app.key(models.NewKey{})
	app.exec(`UPDATE api_keys SET revoked_at = now() WHERE expires_at IS NULL`)
	deleted := app.key(models.NewKey{Name: "deleted"})
	app.exec(`DELETE FROM api_keys WHERE name = 'deleted'`)
	other := app.key(models.NewKey{Name: "other"})
	wrongSecret := app.key(models.NewKey{Name: "wrong"})
	app.exec(`UPDATE api_keys SET mac = (SELECT mac FROM api_keys WHERE name = 'other') WHERE name = 'wrong'`)

	bodies := map[string]bool{}
	for _, key := range []string{expired, revoked, deleted, wrongSecret, "rl_live_mistyped"} {
		response := app.As(key).Get("/v1/products", "X-Request-Id", "same").Want(http.StatusUnauthorized)
		bodies[string(response.Body)] = true
	}
	if len(bodies) != 1 {
		t.Errorf("the responses differ: %v", bodies)
	}
	app.As(other).Get("/v1/products").Want(http.StatusOK)
}

func TestAuth_ip_allow(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	key := app.key(models.NewKey{IPAllow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")}})
	caller := app.As(key)
	caller.Get("/v1/products").Want(http.StatusForbidden)
	caller.Get("/v1/products", "X-Forwarded-For", "203.0.113.7").Want(http.StatusOK)
	caller.Get("/v1/products", "X-Forwarded-For", "2001:db8::7").Want(http.StatusOK)
	caller.Get("/v1/products", "X-Forwarded-For", "198.51.100.7").Want(http.StatusForbidden)
}

func TestAuth_ignores_forwarded_for_of_untrusted_peers(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{IPAllow: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	app.As(key).Get("/v1/products", "X-Forwarded-For", "203.0.113.7").Want(http.StatusForbidden)
}

// unknownKey returns a well-formed key that isn't in the database.
func (a *testApp) unknownKey() string {
	a.t.Helper()
	key := a.key(models.NewKey{})
	a.exec(`DELETE FROM api_keys WHERE id = $1`, idOf(key))
	return key
}

func TestFailureLimiter_limits_address(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	cached, uncached := app.caller("internal"), app.caller("internal")
	const attacker = "203.0.113.7"
	cached.Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusOK)

	for range 10 {
		app.Get("/v1/products", "X-API-Key", "rl_live_nonsense", "X-Forwarded-For", attacker).Want(http.StatusUnauthorized)
		app.As(app.unknownKey()).Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusUnauthorized)
	}
	refused := app.As(app.unknownKey()).Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusTooManyRequests)
	cached.Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusOK)
	uncached.Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusOK) // valid keys are only slowed
	app.As(app.unknownKey()).Get("/v1/products", "X-Forwarded-For", "203.0.113.8").Want(http.StatusUnauthorized)

	seconds, err := strconv.Atoi(refused.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		t.Fatalf("got Retry-After %q; want seconds", refused.Header.Get("Retry-After"))
	}
	app.clock.Advance(time.Duration(seconds) * time.Second)
	app.As(app.unknownKey()).Get("/v1/products", "X-Forwarded-For", attacker).Want(http.StatusUnauthorized)
}

func TestFailureLimiter_ipv6_prefix(t *testing.T) {
	app := newApp(t, withTrustedProxies("127.0.0.1/32"))
	for i := range 20 {
		app.Get("/v1/products", "X-API-Key", "x", "X-Forwarded-For", fmt.Sprintf("2001:db8:0:1::%x", i+1)).Want(http.StatusUnauthorized)
	}
	app.Get("/v1/products", "X-API-Key", "x", "X-Forwarded-For", "2001:db8:0:1:ffff::1").Want(http.StatusTooManyRequests)
	app.Get("/v1/products", "X-API-Key", "x", "X-Forwarded-For", "2001:db8:0:2::1").Want(http.StatusUnauthorized)
}

func TestFailureLimiter_parallel(t *testing.T) {
	app := newApp(t)
	var unauthorized, tooMany atomic.Int64
	var calls sync.WaitGroup
	for range 100 {
		calls.Go(func() {
			switch response := app.Get("/v1/products", "X-API-Key", "rl_live_nonsense"); response.Status {
			case http.StatusUnauthorized:
				unauthorized.Add(1)
			case http.StatusTooManyRequests:
				tooMany.Add(1)
			}
		})
	}
	calls.Wait()
	if unauthorized.Load() != 20 || tooMany.Load() != 80 {
		t.Fatalf("got %d × 401 and %d × 429; want 20 and 80", unauthorized.Load(), tooMany.Load())
	}
}

func TestLog_omits_keys(t *testing.T) {
	app := newApp(t)
	key := app.key(models.NewKey{})
	app.Get("/v1/products", "X-API-Key", key).Want(http.StatusOK)
	app.As(key).Get("/v1/products/prd_none").Want(http.StatusNotFound)
	app.Get("/v1/products/" + key + "?" + url.Values{"key": {key}}.Encode()).Want(http.StatusUnauthorized)
	app.Get("/nowhere/"+key, "X-Request-Id", key).Want(http.StatusNotFound)
	app.As(key).Post("/v1/orders", `{"`+key+`":1}`).Want(http.StatusUnprocessableEntity)
	app.Get("/v1/products", "X-API-Key", "wrong"+key).Want(http.StatusUnauthorized)
	secret := key[len(key)-28:]
	if log := app.log.String(); strings.Contains(log, secret) || strings.Count(log, `"msg":"request"`) != 6 {
		t.Fatalf("want 6 request lines without the key, got\n%s", log)
	}
}

// The number of lookups exceeds the 20 allowed failures only by those in flight and
// by the slowed ones, which the queue of 2 s at 5 per second bounds.
func TestFailureLimiter_bounds_lookups_of_burst(t *testing.T) {
	address := testkit.DatabaseURL(t)
	pool, counter := countingPool(t, address)
	app := newApp(t, onDatabase(address), withQuotaPool(pool))
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = app.unknownKey()
	}
	locked, unlock := app.lock("api_keys")
	defer unlock()
	var calls sync.WaitGroup
	for _, key := range keys {
		calls.Go(func() { app.As(key).Get("/v1/products") })
	}
	locked()
	unlock()
	calls.Wait()
	const inFlight, slowed = 4, 11
	if n := counter.lookups.Load(); n < 20 || n > 20+inFlight+slowed {
		t.Fatalf("got %d lookups; want 20 to %d", n, 20+inFlight+slowed)
	}
}

// A change removes a key from the cache, but the limiter still knows it as valid.
func TestFailureLimiter_admits_changed_keys(t *testing.T) {
	app := newApp(t)
	admin := app.admin()
	key := app.key(models.NewKey{Plan: "internal"})
	app.As(key).Get("/v1/products").Want(http.StatusOK)
	admin.Get("/v1/me").Want(http.StatusOK)
	for range 25 {
		app.As("rl_live_nonsense").Get("/v1/products")
	}
	admin.Do(http.MethodPatch, "/v1/admin/keys/"+idOf(key), `{"name":"another"}`).Want(http.StatusOK)
	app.As(key).Get("/v1/products").Want(http.StatusOK)
	admin.Do(http.MethodPut, "/v1/admin/plans/internal", `{"description":"x","policies":[]}`).Want(http.StatusOK)
	admin.Get("/v1/me").Want(http.StatusOK)
	app.As(key).Get("/v1/products").Want(http.StatusOK)
}
