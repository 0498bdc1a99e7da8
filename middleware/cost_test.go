package middleware

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// oneKey knows one key, as the cache does when it is hot, and its quota.
type oneKey struct {
	key   models.APIKey
	quota *ratelimit.Quota
}

func (k *oneKey) Cached(string, time.Time) (*models.APIKey, *ratelimit.Quota, bool) {
	return &k.key, k.quota, true
}

func (k *oneKey) Resolve(context.Context, string, time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	return &k.key, k.quota, nil
}

// threePolicies never refuse in the course of a benchmark.
var threePolicies = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: ratelimit.Every(time.Second), Burst: 1_000_000_000},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 1_000_000_000, Period: ratelimit.Every(time.Hour)},
	{Name: "daily", Algorithm: ratelimit.FixedWindow, Limit: 1_000_000_000, Period: ratelimit.Every(24 * time.Hour)},
}

func bareRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	return router
}

func limitedRouter(tb testing.TB) *gin.Engine {
	quota, err := ratelimit.NewQuota(threePolicies, ratelimit.Subjects{Key: "k"})
	if err != nil {
		tb.Fatal(err)
	}
	known := &oneKey{quota: quota}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(Begin(), RenderErrors(), Authenticate(known, NewAddressGuard(ratelimit.New(memory.New()))), Limit(ratelimit.New(memory.New()), FieldsDraft11, "", 1))
	router.GET("/", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	return router
}

// nullWriter is a response writer that costs nothing itself.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *nullWriter) WriteHeader(int)             {}

func limitedRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer rl_live_0123456789ab_0123456789012345678901234567")
	r.Header.Set("X-Request-Id", "req_0123456789")
	return r
}

// serveOnce serves the same request again: the header map is emptied, not made
// anew, in both routers alike.
func serveOnce(ctx context.Context, router *gin.Engine, w *nullWriter, r *http.Request) {
	clear(w.header)
	router.ServeHTTP(w, r.WithContext(ctx))
}

func TestTheMiddlewareCostsTwoAllocations(t *testing.T) {
	w, ctx := &nullWriter{header: http.Header{}}, t.Context()
	r := limitedRequest()
	bare, limited := bareRouter(), limitedRouter(t)
	without := testing.AllocsPerRun(1000, func() { serveOnce(ctx, bare, w, r) })
	with := testing.AllocsPerRun(1000, func() { serveOnce(ctx, limited, w, r) })
	if w.header.Get("RateLimit") == "" || w.header.Get("RateLimit-Policy") == "" {
		t.Fatalf("the header was %v", w.header)
	}
	if raceEnabled {
		t.Logf("with the race detector: %v and %v allocations", without, with)
		return
	}
	if with-without > 2 {
		t.Fatalf("%v allocations; bare Gin has %v", with, without)
	}
}

func BenchmarkServeHTTP(b *testing.B) {
	for _, router := range []struct {
		name   string
		engine *gin.Engine
	}{{"bare", bareRouter()}, {"limited", limitedRouter(b)}} {
		b.Run(router.name, func(b *testing.B) {
			w, ctx, r := &nullWriter{header: http.Header{}}, b.Context(), limitedRequest()
			b.ReportAllocs()
			for b.Loop() {
				serveOnce(ctx, router.engine, w, r)
			}
		})
	}
}
