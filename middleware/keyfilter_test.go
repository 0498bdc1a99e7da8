package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// fakeKeys is storage with a filter. A presented key that is in neither map is
// unknown.
type fakeKeys struct {
	verdicts map[string]models.KeyVerdict // of the filter
	valid    map[string]bool              // in storage
	delay    time.Duration                // of each query

	down           atomic.Bool  // storage can't be reached
	looks, lookups atomic.Int64 // queries of the filter and of the resolver
}

func (k *fakeKeys) Check(presented string) models.KeyVerdict {
	if verdict, found := k.verdicts[presented]; found {
		return verdict
	}
	return models.KeyUnknown
}

func (k *fakeKeys) LookUp(ctx context.Context, presented string) (bool, error) {
	k.looks.Add(1)
	time.Sleep(k.delay)
	if k.down.Load() {
		return false, models.ErrUnavailable
	}
	return k.valid[presented], ctx.Err()
}

func (*fakeKeys) Cached(string, time.Time) (*models.APIKey, *ratelimit.Quota, bool) {
	return nil, nil, false
}

func (k *fakeKeys) Resolve(_ context.Context, presented string, _ time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	k.lookups.Add(1)
	if !k.valid[presented] {
		return nil, nil, models.ErrInvalidKey
	}
	return &models.APIKey{}, nil, nil
}

// screened serves requests with keys from addresses.
type screened struct {
	*fakeKeys
	t      *testing.T
	router *gin.Engine
	now    atomic.Pointer[time.Time]
}

func newScreened(t *testing.T, keys *fakeKeys) *screened {
	t.Helper()
	s := &screened{fakeKeys: keys, t: t, router: gin.New()}
	s.advance(0)
	failures := NewFailureLimiter(ratelimit.New(memory.New(), ratelimit.WithClock(func() time.Time { return *s.now.Load() })))
	failures.SetFilter(keys)
	proxies := NewProxies([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, slog.New(slog.DiscardHandler))
	s.router.Use(Begin(proxies), RenderErrors(), Authenticate(keys, failures))
	s.router.GET("/", func(c *gin.Context) { c.Status(http.StatusOK) })
	return s
}

func (s *screened) advance(d time.Duration) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	if before := s.now.Load(); before != nil {
		now = before.Add(d)
	}
	s.now.Store(&now)
}

// get returns the status of a request.
func (s *screened) get(key, address string) int {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Api-Key", key)
	r.Header.Set("X-Forwarded-For", address)
	w := httptest.NewRecorder()
	s.router.ServeHTTP(w, r)
	return w.Code
}

func (s *screened) want(key, address string, want int) {
	s.t.Helper()
	if got := s.get(key, address); got != want {
		s.t.Errorf("%s from %s: got status %d; want %d", key, address, got, want)
	}
}

// randomIn48 returns an address of 2001:db8:1::/48.
func randomIn48() string {
	return fmt.Sprintf("2001:db8:1:%x::%x", rand.N(1<<16), rand.N(1<<16))
}

func TestAuthenticate_forged_keys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreened(t, &fakeKeys{valid: map[string]bool{"valid": true}, verdicts: map[string]models.KeyVerdict{"valid": models.KeyLive}})
		statuses := map[int]int{}
		for i := range 10_000 {
			statuses[s.get(fmt.Sprint("forged", i), randomIn48())]++
		}
		if looks, lookups := s.looks.Load(), s.lookups.Load(); looks != 20 || lookups != 0 {
			t.Errorf("got %d second looks and %d lookups of 10,000 forged keys; want 20 and 0", looks, lookups)
		}
		if statuses[http.StatusUnauthorized] != 320 || statuses[http.StatusTooManyRequests] != 9_680 {
			t.Errorf("got statuses %v; want 320 × 401 and 9,680 × 429", statuses)
		}
		began := time.Now()
		s.want("valid", randomIn48(), http.StatusOK)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the valid key waited %v", waited)
		}
		for i := range 100 { // from everywhere
			s.get(fmt.Sprint("forged", i), fmt.Sprintf("198.51.%d.1", i))
		}
		if looks := s.looks.Load(); looks != 40 {
			t.Errorf("got %d second looks in all; want 40", looks)
		}
		s.advance(time.Second)
		for i := range 100 {
			s.get(fmt.Sprint("forged", i), randomIn48())
		}
		if looks := s.looks.Load(); looks != 50 {
			t.Errorf("got %d second looks after a second; want 50", looks)
		}
	})
}

// A key that the change feed hasn't brought yet is looked up once for all callers.
func TestAuthenticate_new_key(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScreened(t, &fakeKeys{valid: map[string]bool{"new": true}, delay: time.Second})
		var calls sync.WaitGroup
		for range 1000 {
			calls.Go(func() { s.want("new", randomIn48(), http.StatusOK) })
		}
		calls.Wait()
		if looks := s.looks.Load(); looks != 1 {
			t.Errorf("got %d second looks; want 1", looks)
		}
	})
}

// While storage is down, a key that isn't known may be valid: it is never refused
// for good.
func TestAuthenticate_storage_down(t *testing.T) {
	s := newScreened(t, &fakeKeys{valid: map[string]bool{"new": true}})
	s.down.Store(true)
	for range 100 {
		s.want("new", "198.51.100.1", http.StatusServiceUnavailable)
	}
	if looks := s.looks.Load(); looks != 20 {
		t.Errorf("got %d second looks; want 20", looks)
	}
	s.down.Store(false)
	s.advance(time.Second)
	s.want("new", "198.51.100.1", http.StatusOK)
}

// A key that has expired or been revoked leaves the filter when it is looked up.
func TestAuthenticate_dead_key(t *testing.T) {
	s := newScreened(t, &fakeKeys{verdicts: map[string]models.KeyVerdict{"dead": models.KeyLive}})
	s.want("dead", "198.51.100.1", http.StatusUnauthorized)
	if s.looks.Load() != 1 {
		t.Errorf("got %d corrections of the filter; want 1", s.looks.Load())
	}
}

// Malformed keys take no turns of slowed lookups.
func TestAuthenticate_malformed_key(t *testing.T) {
	s := newScreened(t, &fakeKeys{
		valid:    map[string]bool{"undecided": true},
		verdicts: map[string]models.KeyVerdict{"malformed": models.KeyMalformed, "undecided": models.KeyUndecided},
	})
	for range 20 {
		s.want("malformed", "198.51.100.1", http.StatusUnauthorized)
	}
	for range 100 {
		s.want("malformed", "198.51.100.1", http.StatusTooManyRequests)
	}
	s.want("undecided", "198.51.100.1", http.StatusOK)
	if s.looks.Load() != 0 {
		t.Errorf("got %d second looks; want none", s.looks.Load())
	}
}

// Without a verdict, the lookups of a site are bounded also if it changes its
// networks, and other sites aren't affected.
func TestFailureLimiter_networks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailureLimiter(ratelimit.New(memory.New()))
		fail := func(address string, want bool) {
			t.Helper()
			if failed := f.Record(t.Context(), netip.MustParseAddr(address)) == nil; failed != want {
				t.Errorf("failure from %s counted: %t; want %t", address, failed, want)
			}
		}
		wantWait := func(address string, want bool) {
			t.Helper()
			networks := networksOf(netip.MustParseAddr(address))
			exhausted, err := f.exhausted(t.Context(), networks)
			if err != nil || exhausted >= 0 != want {
				t.Errorf("%s: got exhausted network %d, error %v; want one: %t", address, exhausted, err, want)
			}
		}
		for range 1000 { // one network doesn't use up what its neighbors have
			_ = f.Record(t.Context(), netip.MustParseAddr("2001:db8:1::1"))
		}
		wantWait("2001:db8:1::2", true)
		wantWait("2001:db8:1:1::1", false)
		for i := range 60 {
			fail(fmt.Sprintf("2001:db8:1:%x::1", 1+i%255), true)
		}
		fail("2001:db8:1:ff::1", false) // the /56 has failed 80 times
		wantWait("2001:db8:1:ff::1", true)
		wantWait("2001:db8:1:100::1", false)
		for i := range 240 {
			fail(fmt.Sprintf("2001:db8:1:%x::1", 0x100*(1+i%255)), true)
		}
		fail("2001:db8:1:ffff::1", false) // the /48 has failed 320 times
		wantWait("2001:db8:1:ffff::1", true)
		wantWait("2001:db8:2::1", false)
		wantWait("198.51.100.1", false)

		// All networks of the exhausted one share its turns: 10 in 2 s.
		var calls sync.WaitGroup
		var admitted atomic.Int64
		for i := range 100 {
			calls.Go(func() {
				if leave, err := f.Enter(t.Context(), netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", 0x100*i+5))); err == nil {
					leave()
					admitted.Add(1)
				}
			})
		}
		calls.Wait()
		if admitted.Load() != 10 {
			t.Errorf("got %d lookups of an exhausted /48; want 10", admitted.Load())
		}
	})
}
