package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/didip/tollbooth/v8"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/httprate"
	ulule "github.com/ulule/limiter/v3"
	ululegin "github.com/ulule/limiter/v3/drivers/middleware/gin"
	ululemem "github.com/ulule/limiter/v3/drivers/store/memory"

	"ratelimiter/middleware"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

const (
	bareGin  = "bare Gin"
	bareHTTP = "bare net/http"
)

var product = models.Product{
	ID: "prd_0y5apuf8zs", SKU: "CUP-ESP-2", Name: "Espresso cups, set of two", Description: "Porcelain, 80 ml, with saucers.",
	Price: models.Money{Amount: 1999, Currency: "EUR"}, Stock: 1000, UpdatedAt: time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC),
}

func servers() []*server {
	gin.SetMode(gin.ReleaseMode)
	keys := &oneKey{quota: must(ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: "1s", Burst: highLimit},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: highLimit, Period: "1h"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: highLimit, Period: ratelimit.Month},
	}, ratelimit.Subjects{Key: "k", Owner: "o"}))}
	limiter, guard := ratelimit.New(memory.New()), middleware.NewFailureLimiter(ratelimit.New(memory.New()))
	chain := []gin.HandlerFunc{
		middleware.RenderErrors(), middleware.Authenticate(keys, guard), middleware.Limit(limiter, middleware.FieldsDraft11, &models.Route{Cost: 1}, nil),
	}
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	full := append([]gin.HandlerFunc{middleware.Begin(nil), middleware.Headers(), middleware.Log(log), middleware.Recover(log)}, chain...)
	rate := ulule.Rate{Period: time.Hour, Limit: highLimit}
	byKey := func(c *gin.Context) string { return c.GetHeader("Authorization") }
	handler := http.HandlerFunc(writeProduct)
	return []*server{
		{name: bareGin, baseline: bareGin, omits: "any limit", handler: router()},
		{name: "this middleware", baseline: bareGin, handler: router(append([]gin.HandlerFunc{middleware.Begin(nil)}, chain...)...)},
		{name: "this middleware, log, recovery, security headers", baseline: bareGin, handler: router(full...)},
		{
			name: "ulule/limiter for Gin", baseline: bareGin, omits: "keys looked up, several policies",
			handler: router(ululegin.NewMiddleware(ulule.New(ululemem.NewStore(), rate), ululegin.WithKeyGetter(byKey))),
		},
		{name: bareHTTP, baseline: bareHTTP, omits: "any limit", handler: handler},
		{
			name: "go-chi/httprate", baseline: bareHTTP, omits: "keys looked up, several policies",
			handler: httprate.Limit(highLimit, time.Hour, httprate.WithKeyFuncs(func(r *http.Request) (string, error) {
				return r.Header.Get("Authorization"), nil
			}))(handler),
		},
		{
			name: "didip/tollbooth", baseline: bareHTTP, omits: "keys looked up, several policies",
			handler: tollbooth.HTTPMiddleware(tollbooth.NewLimiter(1e6, nil).SetBurst(highLimit).SetHeaders(map[string][]string{"Authorization": {}}))(handler),
		},
	}
}

func router(chain ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Use(chain...)
	r.GET("/", func(c *gin.Context) { c.JSON(http.StatusOK, product) })
	return r
}

func writeProduct(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = io.WriteString(w, `{"id":"prd_0y5apuf8zs","sku":"CUP-ESP-2","name":"Espresso cups, set of two","stock":1000}`)
}

// oneKey resolves every key to one quota, like a warm cache.
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
