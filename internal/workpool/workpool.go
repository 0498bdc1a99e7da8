// Package workpool bounds how much CPU-bound work runs at once, so that cheap
// I/O-bound handlers keep a core.
package workpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
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
// early. Waiting jobs take turns by owner, so that a flood delays only its own
// owner. It is safe for concurrent use.
type Pool struct {
	open     *semaphore.Weighted // 1 per running or queued job; all of it: stopped
	workers  int
	queue    int          // most jobs that wait
	rejected atomic.Int64 // jobs that the queue had no room or no worker in time for

	mu      sync.Mutex
	free    int     // workers
	waiting int     // jobs in lines
	lines   []*line // one per owner with waiting jobs; the first has the next turn
}

// line is the waiting jobs of an owner, first come, first served. Each channel
// has room for one result: nil, which gives the job a worker, or why not.
type line struct {
	owner string
	jobs  []chan error
}

// New returns a pool of max(1, GOMAXPROCS-1) workers.
func New() *Pool {
	workers := max(1, runtime.GOMAXPROCS(0)-1)
	return NewSized(workers, workers*queuePerWorker)
}

// NewSized returns a pool that runs up to workers jobs at once and queues up to
// queue more.
func NewSized(workers, queue int) *Pool {
	return &Pool{open: semaphore.NewWeighted(math.MaxInt64), workers: workers, queue: queue, free: workers}
}

// errFull is the error of a job for which the queue has no room.
var errFull = fmt.Errorf("%w: the queue is full", models.ErrOverloaded)

// Do runs job in the caller's goroutine as soon as a worker is free and it is
// the turn of the owner of ctx's API key. It returns job's error; a panic of job
// is the caller's. Other errors: models.ErrOverloaded when the queue is full, or
// when the job gets no worker within 500 ms; ctx's error when ctx ends first. A
// full queue drops the newest job of the owner with the most waiting jobs, so
// that each of n owners can have 1/n of it. A running job has to watch ctx
// itself.
func (p *Pool) Do(ctx context.Context, job func(context.Context) error) error {
	if !p.open.TryAcquire(1) {
		return fmt.Errorf("%w: the pool is stopped", models.ErrOverloaded)
	}
	defer p.open.Release(1)
	if err := p.acquireWorker(ctx); err != nil {
		if errors.Is(err, models.ErrOverloaded) {
			p.rejected.Add(1)
		}
		return err
	}
	defer p.releaseWorker()
	return job(ctx)
}

func (p *Pool) acquireWorker(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, maxQueueTime)
	defer cancel()
	result := p.enqueue(ownerOf(ctx))
	select {
	case err := <-result:
		return err
	case <-waiting.Done():
	}
	if !p.leave(result) {
		return <-result // it came at the same time
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for a worker: %w", err)
	}
	return fmt.Errorf("%w: no worker within %s", models.ErrOverloaded, maxQueueTime)
}

// ownerOf returns the owner of the request's key; empty without one.
func ownerOf(ctx context.Context) string {
	if key := models.RequestFrom(ctx).Key; key != nil {
		return key.Owner
	}
	return ""
}

// enqueue returns the channel of the result of a job that waits for a worker.
func (p *Pool) enqueue(owner string) chan error {
	result := make(chan error, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free > 0 {
		p.free--
		result <- nil
		return result
	}
	own := slices.IndexFunc(p.lines, func(l *line) bool { return l.owner == owner })
	if p.waiting == p.queue {
		waiting := 0
		if own >= 0 {
			waiting = len(p.lines[own].jobs)
		}
		if !p.displace(waiting) {
			result <- errFull
			return result
		}
	}
	p.waiting++
	if own < 0 {
		p.lines = append(p.lines, &line{owner, []chan error{result}})
	} else {
		p.lines[own].jobs = append(p.lines[own].jobs, result)
	}
	return result
}

// displace drops the newest job of the longest line if that line stays longer
// than one of waiting jobs. So it never becomes empty.
func (p *Pool) displace(waiting int) bool {
	if len(p.lines) == 0 {
		return false
	}
	longest := slices.MaxFunc(p.lines, func(a, b *line) int { return cmp.Compare(len(a.jobs), len(b.jobs)) })
	last := len(longest.jobs) - 1
	if last <= waiting {
		return false
	}
	longest.jobs[last] <- errFull
	longest.jobs = longest.jobs[:last]
	p.waiting--
	return true
}

// releaseWorker gives a worker to the next job. The line of the job is the last
// to have another turn.
func (p *Pool) releaseWorker() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == 0 {
		p.free++
		return
	}
	next := p.lines[0]
	next.jobs[0] <- nil
	next.jobs = next.jobs[1:]
	p.waiting--
	p.lines = p.lines[1:]
	if len(next.jobs) > 0 {
		p.lines = append(p.lines, next)
	}
}

// leave takes a waiting job out of its line. It reports false if the job has its
// result.
func (p *Pool) leave(result chan error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range p.lines {
		if at := slices.Index(l.jobs, result); at >= 0 {
			l.jobs = slices.Delete(l.jobs, at, at+1)
			if len(l.jobs) == 0 {
				p.lines = slices.Delete(p.lines, i, i+1)
			}
			p.waiting--
			return true
		}
	}
	return false
}

// Stats is the state of a Pool.
type Stats struct {
	Workers  int
	Running  int   // jobs
	Waiting  int   // jobs
	Rejected int64 // jobs so far that got no worker in time, or no place in the queue
}

// Stats returns the state of the pool.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Workers: p.workers, Running: p.workers - p.free, Waiting: p.waiting, Rejected: p.rejected.Load()}
}

// Name returns "cpu pool".
func (*Pool) Name() string { return "cpu pool" }

// Start does nothing: jobs run in their callers' goroutines.
func (*Pool) Start(context.Context) error { return nil }

// Stop waits until no job runs or is queued. New jobs fail with
// models.ErrOverloaded from its call on, and for good once it returned nil. Its
// error is ctx's; then the pool goes on as before.
func (p *Pool) Stop(ctx context.Context) error {
	if err := p.open.Acquire(ctx, math.MaxInt64); err != nil {
		return fmt.Errorf("drain the pool: %w", err)
	}
	return nil
}
