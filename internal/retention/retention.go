// Package retention runs all jobs that delete expired rows or create the
// partitions that are needed next.
package retention

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Bounds of one run of a job, and of the pause after a failure.
const (
	runTimeout = time.Minute
	retryAfter = 10 * time.Second
)

// Job is one kind of expired data.
type Job struct {
	Name  string
	Every time.Duration
	// Run processes one bounded batch and reports whether there may be more.
	Run func(ctx context.Context) (more bool, err error)
}

// Runner runs each job at start and then at its interval. A failed run is
// logged and repeated. Deletions are idempotent, so that instances may run the
// same job at once.
type Runner struct {
	log  *slog.Logger
	jobs []Job

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// New returns a Runner of jobs, whose tables must exist when it starts.
func New(log *slog.Logger, jobs ...Job) *Runner { return &Runner{log: log, jobs: jobs} }

// Name returns "retention".
func (*Runner) Name() string { return "retention" }

// Start begins to run the jobs until Stop.
func (r *Runner) Start(ctx context.Context) error {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, job := range r.jobs {
		r.ended.Go(func() { r.loop(ctx, job) })
	}
	return nil
}

// Stop cancels running jobs and waits for their end.
func (r *Runner) Stop(context.Context) error {
	r.cancel()
	r.ended.Wait()
	return nil
}

func (r *Runner) loop(ctx context.Context, job Job) {
	for {
		pause := job.Every
		if err := drain(ctx, job); err != nil && ctx.Err() == nil {
			r.log.Warn("retention job failed", "job", job.Name, "error", err.Error())
			pause = min(pause, retryAfter)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// drain runs a job until nothing is left for it.
func drain(ctx context.Context, job Job) error {
	for ctx.Err() == nil {
		running, cancel := context.WithTimeout(ctx, runTimeout)
		more, err := job.Run(running)
		cancel()
		if err != nil || !more {
			return err
		}
	}
	return nil
}
