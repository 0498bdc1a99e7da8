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

// plenty is a limit that no measurement reaches.
const plenty = 3_000_000_000

const (
	bareGin  = "bare Gin"
	bareHTTP = "bare net/http"
)

var product = models.Product{
	ID: "prd_0y5apuf8zs", SKU: "CUP-ESP-2", Name: "Espresso cups, set of two", Description: "Porcelain, 80 ml, with saucers.",
	Price: models.Money{Amount: 1999, Currency: "EUR"}, Stock: 1000, UpdatedAt: time.Date(2026, 1, 15, 9, 30, 0, 0, time.UTC),
}

func contestants() ([]*contestant, error) {
	gin.SetMode(gin.ReleaseMode)
	ours, err := known()
	if err != nil {
		return nil, err
	}
	limiter, guard := ratelimit.New(memory.New()), middleware.NewAddressGuard(ratelimit.New(memory.New()))
	chain := []gin.HandlerFunc{
		middleware.RenderErrors(), middleware.Authenticate(ours, guard), middleware.Limit(limiter, middleware.FieldsDraft11, &models.Route{Cost: 1}, nil),
	}
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	whole := append([]gin.HandlerFunc{middleware.Begin(), middleware.Headers(), middleware.Log(log), middleware.Recover(log)}, chain...)
	rate := ulule.Rate{Period: time.Hour, Limit: plenty}
	byKey := func(c *gin.Context) string { return c.GetHeader("Authorization") }
	answer := http.HandlerFunc(answerHTTP)
	return []*contestant{
		{name: bareGin, against: bareGin, lacks: "any limit", handler: router()},
		{name: "this middleware", against: bareGin, handler: router(append([]gin.HandlerFunc{middleware.Begin()}, chain...)...)},
		{name: "this middleware, log, recovery, security headers", against: bareGin, handler: router(whole...)},
		{
			name: "ulule/limiter for Gin", against: bareGin, lacks: "keys looked up, several policies",
			handler: router(ululegin.NewMiddleware(ulule.New(ululemem.NewStore(), rate), ululegin.WithKeyGetter(byKey))),
		},
		{name: bareHTTP, against: bareHTTP, lacks: "any limit", handler: answer},
		{
			name: "go-chi/httprate", against: bareHTTP, lacks: "keys looked up, several policies",
			handler: httprate.Limit(plenty, time.Hour, httprate.WithKeyFuncs(func(r *http.Request) (string, error) {
				return r.Header.Get("Authorization"), nil
			}))(answer),
		},
		{
			name: "didip/tollbooth", against: bareHTTP, lacks: "keys looked up, several policies",
			handler: tollbooth.HTTPMiddleware(tollbooth.NewLimiter(1e6, nil).SetBurst(plenty).SetHeaders(map[string][]string{"Authorization": {}}))(answer),
		},
	}, nil
}

func router(chain ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Use(chain...)
	r.GET("/", func(c *gin.Context) { c.JSON(http.StatusOK, product) })
	return r
}

func answerHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = io.WriteString(w, `{"id":"prd_0y5apuf8zs","sku":"CUP-ESP-2","name":"Espresso cups, set of two","stock":1000}`)
}

// oneKey knows the key that every request carries, as a warm cache does.
type oneKey struct {
	key   models.APIKey
	quota *ratelimit.Quota
}

func known() (*oneKey, error) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 900_000, Period: "1s", Burst: plenty},
		{Name: "minute", Algorithm: ratelimit.SlidingWindow, Limit: plenty, Period: "1h"},
		{Name: "monthly", Algorithm: ratelimit.Calendar, Limit: plenty, Period: ratelimit.Month},
	}, ratelimit.Subjects{Key: "k", Owner: "o"})
	return &oneKey{quota: quota}, err
}

func (k *oneKey) Cached(string, time.Time) (*models.APIKey, *ratelimit.Quota, bool) {
	return &k.key, k.quota, true
}

func (k *oneKey) Resolve(context.Context, string, time.Time) (*models.APIKey, *ratelimit.Quota, error) {
	return &k.key, k.quota, nil
}
