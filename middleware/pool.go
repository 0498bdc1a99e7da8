package middleware

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"ratelimiter/models"
)

// maxWait is how long work waits for its turn: who waits longer is better told
// to come back than kept.
const maxWait = 500 * time.Millisecond

// queuePerWorker bounds those who wait. By Little's law, a queue that is left
// at a rate of 1/S a worker and in which nobody may wait longer than W is of use
// up to W/S places a worker: whoever comes behind them would wait for nothing.
// The cheapest work that we have, an invoice of a few lines, takes some 7 ms of
// a core: 500 ms / 7 ms is about 70. Dearer work is shed by maxWait first.
const queuePerWorker = 64

// Pool bounds work that keeps a core busy. Unbounded, it would share the cores
// with the cheap handlers, and each of them would wait for all of it; bounded,
// a core is left for them, and what is too much is shed while it is still cheap
// to refuse. Any number of goroutines may use it at the same time.
type Pool struct {
	workers *semaphore.Weighted
	places  *semaphore.Weighted // of those who work and those who wait
	all     int64               // places
}

// NewPool returns a pool for work that needs nothing but a core: as many
// workers as there are cores for Go, but for one, and at least one.
func NewPool() *Pool {
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	return NewPoolOf(workers, workers*queuePerWorker)
}

// NewPoolOf returns a pool in which workers work at the same time, and up to
// queue wait for them, in the order in which they came.
func NewPoolOf(workers, queue int) *Pool {
	all := int64(workers) + int64(queue)
	return &Pool{workers: semaphore.NewWeighted(int64(workers)), places: semaphore.NewWeighted(all), all: all}
}

// Do runs work in the caller's goroutine when its turn has come, and returns
// its error; a panic of work is the caller's. Errors of its own:
// models.ErrOverloaded at once when the queue is full, or when the turn hasn't
// come within 500 ms; ctx's error when ctx ends before. A caller whose ctx ends
// loses its place at once while it waits; once its turn has come, it is up to
// work to look at ctx.
func (p *Pool) Do(ctx context.Context, work func(context.Context) error) error {
	if !p.places.TryAcquire(1) {
		return fmt.Errorf("%w: the queue is full", models.ErrOverloaded)
	}
	defer p.places.Release(1)
	if err := p.turn(ctx); err != nil {
		return err
	}
	defer p.workers.Release(1)
	return work(ctx)
}

// turn waits for a worker.
func (p *Pool) turn(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if p.workers.Acquire(waiting, 1) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for a worker: %w", err)
	}
	return fmt.Errorf("%w: no worker within %s", models.ErrOverloaded, maxWait)
}

// Drain waits until nobody works or waits any more; from its call on, newcomers
// get models.ErrOverloaded, and after a nil they do for good. Its error is
// ctx's: then the pool is as it was before.
func (p *Pool) Drain(ctx context.Context) error {
	if err := p.places.Acquire(ctx, p.all); err != nil {
		return fmt.Errorf("drain the pool: %w", err)
	}
	return nil
}
