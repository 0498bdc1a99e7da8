package middleware

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// A boundContext is a context with a deadline, and what ends it.
type boundContext struct {
	context.Context
	end func()
}

// boundContexts makes a context that ends after d. The tests of requestContext also
// run with package context's own, which shows that they demand what it does.
var boundContexts = map[string]func(parent context.Context, d time.Duration) boundContext{
	"context": func(parent context.Context, d time.Duration) boundContext {
		ctx, cancel := context.WithTimeout(models.WithRequest(parent, &models.Request{ID: "r"}), d)
		return boundContext{ctx, cancel}
	},
	"request": func(parent context.Context, d time.Duration) boundContext {
		s := &requestState{retained: &retained{request: models.Request{ID: "r"}}}
		ctx := s.bound(parent, time.Now().Add(d))
		return boundContext{ctx, ctx.end}
	},
}

var errParent = errors.New("the parent's cause")

// isOpen reports whether a context hasn't ended by any of its methods.
func isOpen(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	default:
		return ctx.Err() == nil && context.Cause(ctx) == nil
	}
}

// wantEnd checks that a context has ended.
func wantEnd(ctx context.Context, t *testing.T, err, cause error) {
	t.Helper()
	if got := ctx.Err(); !errors.Is(got, err) { // before Done, which makes what Err otherwise does without
		t.Errorf("Err: got %v; want %v", got, err)
	}
	if got := context.Cause(ctx); !errors.Is(got, cause) {
		t.Errorf("Cause: got %v; want %v", got, cause)
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("Done is open")
	}
	if got := ctx.Err(); !errors.Is(got, err) {
		t.Errorf("Err after Done: got %v; want %v", got, err)
	}
}

func TestRequestContext(t *testing.T) {
	type key struct{}
	for name, test := range map[string]func(t *testing.T, bound func(context.Context, time.Duration) boundContext){
		"deadline": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			defer ctx.end()
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Minute {
				t.Errorf("Deadline: %v, %v", at, ok)
			}
			time.Sleep(time.Minute - time.Nanosecond)
			if !isOpen(ctx) {
				t.Error("ended before its deadline")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			wantEnd(ctx, t, context.DeadlineExceeded, context.DeadlineExceeded)
		},
		"deadline, nobody waiting": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			defer ctx.end()
			time.Sleep(time.Minute)
			synctest.Wait()
			wantEnd(ctx, t, context.DeadlineExceeded, context.DeadlineExceeded)
		},
		"deadline of the parent": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			parent, cancel := context.WithTimeoutCause(t.Context(), time.Second, errParent)
			defer cancel()
			ctx := bound(parent, time.Minute)
			defer ctx.end()
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second {
				t.Errorf("Deadline: %v, %v", at, ok)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			wantEnd(ctx, t, context.DeadlineExceeded, errParent)
		},
		"end": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			ctx.end()
			ctx.end()
			wantEnd(ctx, t, context.Canceled, context.Canceled)
		},
		"end, somebody waiting": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			if !isOpen(ctx) {
				t.Error("ended early")
			}
			ctx.end()
			wantEnd(ctx, t, context.Canceled, context.Canceled)
			time.Sleep(time.Hour)
			wantEnd(ctx, t, context.Canceled, context.Canceled)
		},
		"end of the parent": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			for _, waiting := range []bool{false, true} {
				parent, cancel := context.WithCancelCause(t.Context())
				ctx := bound(parent, time.Minute)
				if waiting && !isOpen(ctx) {
					t.Error("ended early")
				}
				cancel(errParent)
				wantEnd(ctx, t, context.Canceled, errParent)
				ctx.end()
				wantEnd(ctx, t, context.Canceled, errParent)
			}
		},
		"values": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(context.WithValue(t.Context(), key{}, "v"), time.Minute)
			defer ctx.end()
			for range 2 {
				if models.RequestFrom(ctx).ID != "r" || ctx.Value(key{}) != "v" || ctx.Value("none") != nil {
					t.Errorf("got request %+v, value %v", models.RequestFrom(ctx), ctx.Value(key{}))
				}
				ctx.Done()
			}
		},
		"children": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			before := runtime.NumGoroutine()
			canceled, cancel := context.WithCancel(ctx)
			defer cancel()
			value := context.WithValue(ctx, key{}, "v")
			longer, cancelLonger := context.WithTimeout(value, time.Hour)
			defer cancelLonger()
			other, cancelOther := context.WithCancel(ctx)
			cancelOther()
			detached := context.WithoutCancel(ctx)
			if n := runtime.NumGoroutine(); n != before {
				t.Errorf("%d goroutines, before %d", n, before)
			}
			if models.RequestFrom(longer).ID != "r" || models.RequestFrom(detached).ID != "r" || !isOpen(canceled) || !isOpen(longer) || isOpen(other) {
				t.Error("the children are wrong at the start")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			for _, child := range []context.Context{canceled, value, longer} {
				wantEnd(child, t, context.DeadlineExceeded, context.DeadlineExceeded)
			}
			ctx.end()
			if !isOpen(detached) {
				t.Error("WithoutCancel ended")
			}
		},
		"AfterFunc": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			var calls, stopped int
			context.AfterFunc(ctx, func() { calls++ })
			stop := context.AfterFunc(ctx, func() { stopped++ })
			if !stop() {
				t.Error("stop had no effect")
			}
			ctx.end()
			synctest.Wait()
			if calls != 1 || stopped != 0 {
				t.Errorf("%d calls, %d of a stopped function", calls, stopped)
			}
		},
		"concurrent": func(t *testing.T, bound func(context.Context, time.Duration) boundContext) {
			ctx := bound(t.Context(), time.Minute)
			var all sync.WaitGroup
			for i := range 16 {
				all.Go(func() {
					child, cancel := context.WithCancel(ctx)
					defer cancel()
					_, _ = ctx.Err(), ctx.Value(key{})
					if i == 7 {
						ctx.end()
					}
					<-child.Done()
				})
			}
			all.Wait()
			wantEnd(ctx, t, context.Canceled, context.Canceled)
		},
	} {
		for kind, bound := range boundContexts {
			t.Run(name+"/"+kind, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, bound) }) })
		}
	}
}

// A stream ends with its connection only.
func TestRequestContext_without_a_deadline(t *testing.T) {
	parent, cancel := context.WithCancelCause(t.Context())
	s := &requestState{retained: &retained{}}
	ctx := s.bound(parent, time.Time{})
	if _, bounded := ctx.Deadline(); bounded || !isOpen(ctx) {
		t.Error("it has a deadline, or has ended")
	}
	cancel(errParent)
	wantEnd(ctx, t, context.Canceled, errParent)
}

// The deadline's timer is made for those who wait only.
func TestRequestContext_no_allocations(t *testing.T) {
	parent, s := t.Context(), &requestState{retained: &retained{}}
	if n := testing.AllocsPerRun(100, func() {
		s.retained.context = requestContext{}
		ctx := s.bound(parent, time.Now().Add(time.Minute))
		_, _ = models.RequestFrom(ctx), ctx.Err()
		ctx.end()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
