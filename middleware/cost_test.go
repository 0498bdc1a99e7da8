package middleware

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// threePolicies have limits that a benchmark doesn't reach.
var threePolicies = []ratelimit.Policy{
	{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: ratelimit.Every(time.Second), Burst: 1_000_000_000},
	{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 1_000_000_000, Period: ratelimit.Every(time.Hour)},
	{Name: "daily", Algorithm: ratelimit.FixedWindow, Limit: 1_000_000_000, Period: ratelimit.Every(24 * time.Hour)},
}

func bareRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/", sendProduct)
	return router
}

// sendProduct is a minimal handler that sends JSON.
func sendProduct(c *gin.Context) { c.JSON(http.StatusOK, sampleProduct) }

var sampleProduct = models.Product{
	ID: "prd_0y5apuf8zs", SKU: "CUP-ESP-2", Name: "Espresso cups, set of two", Description: "Porcelain, 80 ml, with saucers.",
	Price: models.Money{Amount: 1999, Currency: "EUR"}, Stock: 1000, UpdatedAt: time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC),
}

func limitedRouter(tb testing.TB) *gin.Engine { return routerWith(tb, threePolicies) }

func routerWith(tb testing.TB, policies []ratelimit.Policy) *gin.Engine {
	quota, err := ratelimit.NewQuota(policies, ratelimit.Subjects{Key: "k"})
	if err != nil {
		tb.Fatal(err)
	}
	quotas := &testkit.OneKey{Quota: quota}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(Begin(nil), RenderErrors(), Authenticate(quotas, NewFailureLimiter(ratelimit.New(memory.New()))), Limit(ratelimit.New(memory.New()), FieldsDraft11, &models.Route{Cost: 1}, nil))
	router.GET("/", sendProduct)
	return router
}

func limitedRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer rl_live_0123456789ab_0123456789012345678901234567")
	r.Header.Set("X-Request-Id", "req_0123456789")
	return r
}

// serveOnce serves one request with a new recorder.
func serveOnce(router *gin.Engine, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	return w
}

func TestMiddleware_allocations(t *testing.T) {
	r := limitedRequest()
	bare, limited := bareRouter(), limitedRouter(t)
	without := testing.AllocsPerRun(1000, func() { serveOnce(bare, r) })
	with := testing.AllocsPerRun(1000, func() { serveOnce(limited, r) })
	if header := serveOnce(limited, r).Header(); header.Get("RateLimit") == "" || header.Get("RateLimit-Policy") == "" {
		t.Fatalf("got header %v; want RateLimit and RateLimit-Policy", header)
	}
	if raceEnabled {
		t.Logf("with the race detector: %v and %v allocations", without, with)
		return
	}
	if with-without > 2 {
		t.Fatalf("got %v allocations; want at most 2 more than the %v of bare Gin", with, without)
	}
}

// BenchmarkServeHTTP compares gin with the middleware to bare gin; see the metric
// "ratio". They take turns, so that other load on the machine affects both.
func BenchmarkServeHTTP(b *testing.B) {
	bare, limited := bareRouter(), limitedRouter(b)
	r := limitedRequest()
	const slice = 2000
	var without, with []float64
	measure := func(router *gin.Engine) float64 {
		began := time.Now()
		for range slice {
			serveOnce(router, r)
		}
		return float64(time.Since(began)) / slice
	}
	for b.Loop() {
		without, with = append(without, measure(bare)), append(with, measure(limited))
	}
	b.ReportMetric(median(without), "bare-ns")
	b.ReportMetric(median(with), "limited-ns")
	b.ReportMetric(median(with)/median(without), "ratio")
	b.ReportMetric(0, "ns/op")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}
