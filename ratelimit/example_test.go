package ratelimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

// A quota of two policies admits two of three requests.
func Example() {
	limiter := ratelimit.New(memory.New())
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "burst", Algorithm: ratelimit.TokenBucket, Limit: 1, Period: "1h", Burst: 2},
		{Name: "month", Algorithm: ratelimit.Calendar, Limit: 1000, Period: ratelimit.Month, TimeZone: "Europe/Berlin"},
	}, ratelimit.Subjects{Key: "alice"})
	if err != nil {
		fmt.Println(err) // lists every fault
		return
	}
	var r ratelimit.Reservation
	for range 3 {
		if err := limiter.Reserve(context.Background(), &r, quota, "", 1); err != nil {
			fmt.Println("store:", err)
			return
		}
		after, _ := r.Decision.RetryAfter()
		fmt.Println(r.Decision.Allowed, r.Decision.Violated(), after.Round(time.Hour), r.Decision.Statuses()[1].Remaining)
	}
	// Output:
	// true [] 0s 999
	// true [] 0s 998
	// false [burst] 1h0m0s 998
}

// Work whose cost is known only after it is done reserves its largest cost and
// commits the actual one.
func ExampleReservation_Commit() {
	limiter := ratelimit.New(memory.New())
	quota, _ := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "rows", Algorithm: ratelimit.FixedWindow, Limit: 1000, Period: "24h"},
	}, ratelimit.Subjects{Key: "alice"})

	var r ratelimit.Reservation
	_ = limiter.Reserve(context.Background(), &r, quota, "", 100)
	defer func() { _ = r.Release(context.Background()) }() // if the work panics
	rows := 42
	_ = r.Commit(context.Background(), int64(rows))
	fmt.Println(r.Decision.Statuses()[0].Remaining)
	// Output: 958
}

// limit reserves one unit and sets the header fields. It returns false after
// writing an error response.
func limit(w http.ResponseWriter, req *http.Request, l *ratelimit.Limiter, q *ratelimit.Quota, r *ratelimit.Reservation) bool {
	if err := l.Reserve(req.Context(), r, q, "", 1); err != nil {
		http.Error(w, "limiter unavailable", http.StatusServiceUnavailable)
		return false
	}
	w.Header()[ratelimit.HeaderRateLimitPolicy] = q.PolicyFieldValues("")
	w.Header()[ratelimit.HeaderRateLimit] = []string{string(r.Decision.AppendField(nil))}
	if r.Decision.Allowed {
		return true
	}
	if after, ok := r.Decision.RetryAfter(); ok {
		w.Header().Set("Retry-After", strconv.FormatInt(ratelimit.RetryAfterSeconds(after, rand.Uint64()), 10))
	}
	http.Error(w, "too many requests", http.StatusTooManyRequests)
	return false
}

// A net/http middleware with one quota per caller.
func Example_netHTTP() {
	limiter := ratelimit.New(memory.New())
	plan, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "minute", Algorithm: ratelimit.SlidingLog, Limit: 2, Period: "1m"},
		{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 8},
	}, ratelimit.Subjects{})
	if err != nil {
		panic(err)
	}
	limited := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			// A server caches the bound quota per caller.
			quota := plan.For(ratelimit.Subjects{Key: req.Header.Get("X-Caller")})
			var r ratelimit.Reservation
			if !limit(w, req, limiter, quota, &r) {
				return
			}
			// Release frees the concurrency slot if the handler panics.
			defer func() { _ = r.Release(context.WithoutCancel(req.Context())) }()
			next.ServeHTTP(w, req)
			_ = r.Settle(context.WithoutCancel(req.Context()), ratelimit.Succeeded)
		})
	}
	handler := limited(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))

	for _, caller := range []string{"alice", "alice", "alice", "bob"} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header.Set("X-Caller", caller)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		fmt.Println(caller, w.Code, w.Header().Get("RateLimit"))
	}
	// Output:
	// alice 200 "minute";r=1;t=60, "parallel";r=7
	// alice 200 "minute";r=0;t=60, "parallel";r=7
	// alice 429 "minute";r=0;t=60, "parallel";r=8
	// bob 200 "minute";r=1;t=60, "parallel";r=7
}

// A Gin middleware that doesn't charge server errors.
func Example_gin() {
	gin.SetMode(gin.ReleaseMode)
	limiter := ratelimit.New(memory.New())
	plan, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "hour", Algorithm: ratelimit.TokenBucket, Limit: 2, Period: "1h"},
	}, ratelimit.Subjects{})
	if err != nil {
		panic(err)
	}
	router := gin.New()
	router.Use(func(c *gin.Context) {
		var r ratelimit.Reservation
		if !limit(c.Writer, c.Request, limiter, plan.For(ratelimit.Subjects{Key: c.GetHeader("X-Caller")}), &r) {
			c.Abort()
			return
		}
		ctx := context.WithoutCancel(c.Request.Context())
		defer func() { _ = r.Release(ctx) }()
		c.Next()
		outcome := ratelimit.Succeeded
		switch status := c.Writer.Status(); {
		case status >= 500:
			outcome = ratelimit.Failed
		case status >= 400:
			outcome = ratelimit.Rejected
		}
		_ = r.Settle(ctx, outcome)
	})
	router.GET("/:status", func(c *gin.Context) {
		status, _ := strconv.Atoi(c.Param("status"))
		c.Status(status)
	})
	for _, path := range []string{"/503", "/500", "/200", "/404", "/200"} {
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(path, w.Code)
	}
	// Output:
	// /503 503
	// /500 500
	// /200 200
	// /404 404
	// /200 429
}
