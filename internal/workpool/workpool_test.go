package workpool

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// empty fails the test unless the pool is idle.
func (p *Pool) empty(t *testing.T, workers int) {
	t.Helper()
	if !p.open.TryAcquire(math.MaxInt64) {
		t.Error("a slot was not released")
		return
	}
	p.open.Release(math.MaxInt64)
	if p.free != workers || p.waiting != 0 || len(p.lines) != 0 {
		t.Errorf("%d workers are free, want %d; %d jobs wait in %d lines", p.free, workers, p.waiting, len(p.lines))
	}
}

// busy runs n jobs that last until end is called.
func busy(p *Pool, n int) (end func()) {
	done := make(chan struct{})
	for range n {
		go func() { _ = p.Do(context.Background(), func(context.Context) error { <-done; return nil }) }()
	}
	synctest.Wait()
	return func() { close(done); synctest.Wait() }
}

func nothing(context.Context) error { return nil }

func TestPool_Do_rejects_after_500ms_in_the_queue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, 8)
		end := busy(pool, 1)
		start := time.Now()
		err := pool.Do(t.Context(), func(context.Context) error { t.Error("the job ran"); return nil })
		if waited := time.Since(start); !errors.Is(err, models.ErrOverloaded) || waited != 500*time.Millisecond {
			t.Errorf("%v after %s", err, waited)
		}
		if got, want := pool.Stats(), (Stats{Workers: 1, Running: 1, Rejected: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		end()
		pool.empty(t, 1)
	})
}

func TestPool_Do_rejects_at_once_when_full(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(2, 3)
		end := busy(pool, 5)
		if got, want := pool.Stats(), (Stats{Workers: 2, Running: 2, Waiting: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		start := time.Now()
		err := pool.Do(t.Context(), nothing)
		if waited := time.Since(start); !errors.Is(err, models.ErrOverloaded) || waited != 0 {
			t.Errorf("%v after %s", err, waited)
		}
		end()
		if err := pool.Do(t.Context(), nothing); err != nil {
			t.Errorf("with capacity again: %v", err)
		}
		pool.empty(t, 2)
	})
}

func TestPool_Do_frees_the_slot_of_a_canceled_caller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, 1)
		end := busy(pool, 1)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- pool.Do(ctx, nothing) }()
		synctest.Wait()
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Fatalf("the queue has one slot: %v", err)
		}
		cancel()
		synctest.Wait()
		select {
		case err := <-first:
			if !errors.Is(err, context.Canceled) || errors.Is(err, models.ErrOverloaded) {
				t.Errorf("the canceled caller got %v", err)
			}
		default:
			t.Error("the canceled caller still waits")
		}
		second := make(chan error, 1)
		go func() { second <- pool.Do(t.Context(), nothing) }()
		synctest.Wait()
		end()
		if err := <-second; err != nil {
			t.Errorf("the freed slot: %v", err)
		}
		pool.empty(t, 1)
	})
}

func TestPool_Do_passes_the_context_to_the_job(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() {
			answer <- pool.Do(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		}()
		synctest.Wait()
		cancel()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		pool.empty(t, 1)
	})
}

func TestPool_Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewSized(1, 2)
		end := busy(pool, 2)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := pool.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("stopped while a job ran: %v", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- pool.Stop(t.Context()) }()
		synctest.Wait()
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Errorf("a new job got %v", err)
		}
		end()
		if err := <-drained; err != nil {
			t.Errorf("idle: %v", err)
		}
		if err := pool.Do(t.Context(), nothing); !errors.Is(err, models.ErrOverloaded) {
			t.Errorf("after Stop: %v", err)
		}
	})
}

func TestNew_leaves_one_core(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for cores, workers := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		runtime.GOMAXPROCS(cores)
		p := New()
		if p.free != workers || p.queue != 64*workers {
			t.Errorf("%d cores: want %d workers and 64 queue slots each; got %d, %d", cores, workers, p.free, p.queue)
		}
	}
}

func TestPool_Do_panics_in_the_caller(t *testing.T) {
	pool := NewSized(1, 1)
	func() {
		defer func() {
			if recover() != "in the middle of a page" {
				t.Error("the panic did not reach the caller")
			}
		}()
		_ = pool.Do(t.Context(), func(context.Context) error { panic("in the middle of a page") })
	}()
	pool.empty(t, 1)
}
