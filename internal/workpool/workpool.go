// Package workpool bounds how much CPU-bound work runs at once, so that cheap
// I/O-bound handlers keep a core.
package workpool

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"ratelimiter/models"
)

// maxQueueTime is the longest that a job may wait for a worker. Jobs that wait
// longer fail with models.ErrOverloaded, so that clients retry instead of
// piling up.
const maxQueueTime = 500 * time.Millisecond

// queuePerWorker bounds the queue. By Little's law a worker that completes a
// job in S serves at most maxQueueTime/S queued jobs in time. The cheapest job,
// a short invoice, takes 7 ms of CPU: 500 ms / 7 ms ≈ 70. Costlier jobs are
// rejected by maxQueueTime first.
const queuePerWorker = 64

// Pool limits how many CPU-bound jobs run at once and rejects excess jobs
// early. It is safe for concurrent use.
type Pool struct {
	workers  *semaphore.Weighted
	admitted *semaphore.Weighted // running and queued jobs
	capacity int64               // of admitted
}

// New returns a pool of max(1, GOMAXPROCS-1) workers.
func New() *Pool {
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	return NewSized(workers, workers*queuePerWorker)
}

// NewSized returns a pool that runs up to workers jobs at once and queues up to
// queue more, first come, first served.
func NewSized(workers, queue int) *Pool {
	capacity := int64(workers) + int64(queue)
	return &Pool{
		workers: semaphore.NewWeighted(int64(workers)), admitted: semaphore.NewWeighted(capacity), capacity: capacity,
	}
}

// Do runs job in the caller's goroutine as soon as a worker is free, and
// returns its error; a panic of job is the caller's. Other errors:
// models.ErrOverloaded at once when the queue is full, or when no worker is
// free within 500 ms; ctx's error when ctx ends first. A running job has to
// watch ctx itself.
func (p *Pool) Do(ctx context.Context, job func(context.Context) error) error {
	if !p.admitted.TryAcquire(1) {
		return fmt.Errorf("%w: the queue is full", models.ErrOverloaded)
	}
	defer p.admitted.Release(1)
	if err := p.acquireWorker(ctx); err != nil {
		return err
	}
	defer p.workers.Release(1)
	return job(ctx)
}

func (p *Pool) acquireWorker(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, maxQueueTime)
	defer cancel()
	if p.workers.Acquire(waiting, 1) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for a worker: %w", err)
	}
	return fmt.Errorf("%w: no worker within %s", models.ErrOverloaded, maxQueueTime)
}

// Name returns "cpu pool".
func (*Pool) Name() string { return "cpu pool" }

// Start does nothing: jobs run in their callers' goroutines.
func (*Pool) Start(context.Context) error { return nil }

// Stop waits until no job runs or is queued. New jobs fail with
// models.ErrOverloaded from its call on, and for good once it returned nil. Its
// error is ctx's; then the pool goes on as before.
func (p *Pool) Stop(ctx context.Context) error {
	if err := p.admitted.Acquire(ctx, p.capacity); err != nil {
		return fmt.Errorf("drain the pool: %w", err)
	}
	return nil
}
