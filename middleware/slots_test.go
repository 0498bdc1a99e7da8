package middleware

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/internal/testkit"
	"ratelimiter/models"
	"ratelimiter/ratelimit"
	"ratelimiter/ratelimit/memory"
)

func TestLimit_renews_slot_of_long_request(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota, err := ratelimit.NewQuota([]ratelimit.Policy{
			{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 1, Hold: "10s"},
		}, ratelimit.Subjects{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		limiter := ratelimit.New(memory.New())
		router := gin.New()
		router.Use(Begin(nil), RenderErrors(), Authenticate(&testkit.OneKey{Quota: quota}, NewFailureLimiter(limiter)), Limit(limiter, FieldsDraft11, &models.Route{Cost: 1}, nil))
		router.GET("/", func(c *gin.Context) {
			time.Sleep(time.Minute)
			c.Status(http.StatusNoContent)
		})
		status := func() int {
			recorder := httptest.NewRecorder()
			router.ServeHTTP(recorder, limitedRequest())
			return recorder.Code
		}
		first := make(chan int, 1)
		go func() { first <- status() }()
		for range 5 {
			time.Sleep(11 * time.Second)
			if got := status(); got != http.StatusTooManyRequests {
				t.Fatalf("second request during the first: got %d; want 429", got)
			}
		}
		if got := <-first; got != http.StatusNoContent {
			t.Fatalf("first request: got %d; want 204", got)
		}
		if got := status(); got != http.StatusNoContent {
			t.Fatalf("request after the first: got %d; want 204", got)
		}
	})
}

// writeFunc is called with each write of a response.
type writeFunc struct {
	*httptest.ResponseRecorder
	called func()
}

func (w *writeFunc) Write(data []byte) (int, error) {
	w.called()
	return w.ResponseRecorder.Write(data)
}

func TestLimit_releases_slot_before_the_last_write(t *testing.T) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 1}}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	limiter := ratelimit.New(memory.New())
	router := newRouter(new(bytes.Buffer))
	router.Use(Authenticate(&testkit.OneKey{Quota: quota}, NewFailureLimiter(limiter)), Limit(limiter, FieldsDraft11, &models.Route{Cost: 1}, nil))
	router.GET("/", func(c *gin.Context) {
		c.Header("Content-Length", "8")
		_, _ = c.Writer.Write([]byte("half"))
		_, _ = c.Writer.Write([]byte("half"))
	})
	var free []int64
	router.ServeHTTP(&writeFunc{httptest.NewRecorder(), func() {
		decision, err := limiter.Peek(t.Context(), quota, "")
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, decision.Statuses()[0].Remaining)
	}}, limitedRequest())
	if len(free) != 2 || free[0] != 0 || free[1] != 1 {
		t.Errorf("got %v free slots at the writes; want 0 and 1", free)
	}
}

func TestLimit_releases_slot_after_panic(t *testing.T) {
	quota, err := ratelimit.NewQuota([]ratelimit.Policy{
		{Name: "parallel", Algorithm: ratelimit.Concurrency, Limit: 1},
		{Name: "window", Algorithm: ratelimit.FixedWindow, Limit: 10, Period: "1h"},
	}, ratelimit.Subjects{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	limiter := ratelimit.New(memory.New())
	var log bytes.Buffer
	router := newRouter(&log)
	router.Use(Authenticate(&testkit.OneKey{Quota: quota}, NewFailureLimiter(limiter)), Limit(limiter, FieldsDraft11, &models.Route{Cost: 1}, nil))
	router.GET("/", func(*gin.Context) { panic("oh") })
	for range 3 {
		recorder := httptest.NewRecorder()
		router.ServeHTTP(recorder, limitedRequest())
		if recorder.Code != http.StatusInternalServerError {
			t.Fatalf("got status %d; want 500 each time", recorder.Code)
		}
		if got := recorder.Header().Get("RateLimit"); !strings.HasPrefix(got, `"parallel";r=`) || !strings.Contains(got, `"window";r=10;`) {
			t.Errorf("got RateLimit %s; want the cost of a 500 refunded", got)
		}
	}
}
