package usage

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/testkit"
	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header         { return w.header }
func (w *nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *nullWriter) WriteHeader(int)             {}

// BenchmarkServeHTTP measures a request with and without Record.
func BenchmarkServeHTTP(b *testing.B) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: "1s", Burst: 1_000_000_000},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: 1_000_000_000, Period: "1h"},
		{Name: "daily", Algorithm: ratelimit.FixedWindow, Limit: 1_000_000_000, Period: "1d"},
	}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		b.Fatal(err)
	}
	gin.SetMode(gin.ReleaseMode)
	for _, run := range []struct {
		name  string
		usage middleware.Recorder
	}{{"limited", nil}, {"recorded", recorder(b)}} {
		b.Run(run.name, func(b *testing.B) {
			newLimiter := func() *ratelimit.Limiter { return ratelimit.New(memory.New()) }
			router := gin.New()
			router.Use(middleware.Begin(nil), middleware.RenderErrors(),
				middleware.Authenticate(&testkit.OneKey{Key: models.APIKey{ID: "9Kx2mV4tQaLp"}, Quota: quota}, middleware.NewFailureLimiter(newLimiter())),
				middleware.Limit(newLimiter(), middleware.FieldsDraft11, read, run.usage))
			router.GET("/", func(c *gin.Context) { c.Status(http.StatusNoContent) })
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.Header.Set("Authorization", "Bearer rl_live_0123456789ab_0123456789012345678901234567")
			w := &nullWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				router.ServeHTTP(w, request)
			}
		})
	}
}
