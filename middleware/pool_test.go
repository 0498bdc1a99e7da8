package middleware

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

// empty fails the test unless every place of the pool is free.
func (p *Pool) empty(t *testing.T, workers int64) {
	t.Helper()
	if !p.places.TryAcquire(p.all) || !p.workers.TryAcquire(workers) {
		t.Error("a place was not given back")
		return
	}
	p.places.Release(p.all)
	p.workers.Release(workers)
}

// busy gives n callers work that lasts until the channel is closed.
func busy(p *Pool, n int) (end func()) {
	done := make(chan struct{})
	for range n {
		go func() { _ = p.Do(context.Background(), func(context.Context) error { <-done; return nil }) }()
	}
	synctest.Wait()
	return func() { close(done); synctest.Wait() }
}

func nothing(context.Context) error { return nil }

func TestWhatWaitsTooLongIsShedAfter500ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPoolOf(1, 8)
		end := busy(pool, 1)
		start := time.Now()
		err := pool.Do(t.Context(), func(context.Context) error { t.Error("its turn never came"); return nil })
		if waited := time.Since(start); !errors.Is(err, models.ErrOverloaded) || waited != 500*time.Millisecond {
			t.Errorf("%v after %s", err, waited)
		}
		end()
		pool.empty(t, 1)
	})
}

func TestAFullQueueShedsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPoolOf(2, 3)
		end := busy(pool, 5)
		start := time.Now()
		err := pool.Do(t.Context(), nothing)
		if waited := time.Since(start); !errors.Is(err, models.ErrOverloaded) || waited != 0 {
			t.Errorf("%v after %s", err, waited)
		}
		end()
		if err := pool.Do(t.Context(), nothing); err != nil {
			t.Errorf("with room again: %v", err)
		}
		pool.empty(t, 2)
	})
}

func TestACallerWhoHangsUpFreesItsPlaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPoolOf(1, 1)
		end := busy(pool, 1)
		ctx, hangUp := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- pool.Do(ctx, nothing) }()
		synctest.Wait()
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Fatalf("the queue has one place: %v", err)
		}
		hangUp()
		synctest.Wait()
		select {
		case err := <-first:
			if !errors.Is(err, context.Canceled) || errors.Is(err, models.ErrOverloaded) {
				t.Errorf("who hung up got %v", err)
			}
		default:
			t.Error("who hung up still waits")
		}
		second := make(chan error, 1)
		go func() { second <- pool.Do(t.Context(), nothing) }()
		synctest.Wait()
		end()
		if err := <-second; err != nil {
			t.Errorf("the place that became free: %v", err)
		}
		pool.empty(t, 1)
	})
}

func TestWorkIsToldThatItsCallerHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPoolOf(1, 1)
		ctx, hangUp := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() {
			answer <- pool.Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		}()
		synctest.Wait()
		hangUp()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		pool.empty(t, 1)
	})
}

func TestAPanicIsTheCallersAndFreesItsPlace(t *testing.T) {
	pool := NewPoolOf(1, 1)
	var log bytes.Buffer
	router := newRouter(&log)
	router.GET("/", func(c *gin.Context) {
		_ = pool.Do(c.Request.Context(), func(context.Context) error { panic("in the middle of a page") })
	})
	recorder := httptest.NewRecorder()
	router.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
	if recorder.Code != http.StatusInternalServerError || !strings.Contains(log.String(), "in the middle of a page") {
		t.Errorf("answer %d, log %s", recorder.Code, log.String())
	}
	pool.empty(t, 1)
}

func TestDrainingWaitsForWhoIsInAndShedsNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPoolOf(1, 2)
		end := busy(pool, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := pool.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("drained while somebody worked: %v", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- pool.Drain(t.Context()) }()
		synctest.Wait()
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Errorf("a newcomer got %v", err)
		}
		end()
		if err := <-drained; err != nil {
			t.Errorf("with nobody in it: %v", err)
		}
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Errorf("after the drain: %v", err)
		}
	})
}

func TestOverloadIsA503ThatSaysWhenToComeBack(t *testing.T) {
	var log bytes.Buffer
	router := newRouter(&log)
	router.GET("/", func(c *gin.Context) { Fail(c, models.ErrOverloaded) })
	seen := map[string]bool{}
	for range 60 {
		recorder := httptest.NewRecorder()
		router.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil))
		var problem models.Problem
		if err := json.Unmarshal(recorder.Body.Bytes(), &problem); err != nil || recorder.Code != http.StatusServiceUnavailable {
			t.Fatalf("answer %d %s", recorder.Code, recorder.Body)
		}
		if problem.Type != "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity" || problem.Status != 503 ||
			problem.Title != "Service Unavailable" || problem.Detail == "" {
			t.Fatalf("problem %+v", problem)
		}
		after := recorder.Header().Get("Retry-After")
		if seconds, err := strconv.Atoi(after); err != nil || seconds < 1 || seconds > 4 {
			t.Fatalf("Retry-After %q", after)
		}
		seen[after] = true
	}
	if len(seen) < 2 {
		t.Errorf("all are told to come back together: %v", seen)
	}
}

func TestACoreIsLeftForTheOthers(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for cores, workers := range map[int]int64{1: 1, 2: 1, 3: 2, 8: 7} {
		runtime.GOMAXPROCS(cores)
		p := NewPool()
		if !p.workers.TryAcquire(workers) || p.workers.TryAcquire(1) || p.all != workers*(1+64) {
			t.Errorf("%d cores: want %d workers, and 64 places to wait for each; places %d", cores, workers, p.all)
		}
	}
}
