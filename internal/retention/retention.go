// Package retention runs all jobs that delete expired rows or create the
// partitions that are needed next.
package retention

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of one run of a job, and of the pause after a failure.
const (
	runTimeout = time.Minute
	retryAfter = 10 * time.Second
)

// maxSkew is the largest difference of the clocks at which jobs run. It exceeds
// the longest query for the database's time. One of two clocks that differ by
// more is wrong, and a deletion by a wrong clock can't be undone.
const maxSkew = 2 * time.Minute

// Clocks are the clocks that must agree before anything is deleted.
type Clocks struct {
	Local    func() time.Time
	Database func(context.Context) (time.Time, error)
}

// Job is one kind of expired data.
type Job struct {
	Name  string
	Every time.Duration
	// Run processes one bounded batch of what has expired at now, the database's
	// time, and reports whether there may be more.
	Run func(ctx context.Context, now time.Time) (more bool, err error)
}

// Runner runs each job at start and then at its interval. A failed run is
// logged and repeated. Deletions are idempotent, so that instances may run the
// same job at once. No job runs while the clocks differ by more than maxSkew.
type Runner struct {
	log    *slog.Logger
	clocks Clocks
	jobs   []Job
	skewed atomic.Bool // the clocks differed at the last comparison

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// New returns a Runner of jobs, whose tables must exist when it starts.
func New(log *slog.Logger, clocks Clocks, jobs ...Job) *Runner {
	return &Runner{log: log, clocks: clocks, jobs: jobs}
}

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
		if err := r.drain(ctx, job); err != nil && ctx.Err() == nil {
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
func (r *Runner) drain(ctx context.Context, job Job) error {
	for ctx.Err() == nil {
		running, cancel := context.WithTimeout(ctx, runTimeout)
		more, err := r.run(running, job)
		cancel()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// run runs one batch of a job by the database's clock, or nothing while the
// clocks differ.
func (r *Runner) run(ctx context.Context, job Job) (more bool, err error) {
	now, err := r.clocks.Database(ctx)
	if err != nil || !r.clocksAgree(now) {
		return false, err
	}
	return job.Run(ctx, now)
}

// clocksAgree compares the local clock with the database's and logs when the
// result changes.
func (r *Runner) clocksAgree(database time.Time) bool {
	ahead := r.clocks.Local().Sub(database)
	skewed := ahead.Abs() > maxSkew
	switch before := r.skewed.Swap(skewed); {
	case skewed && !before:
		r.log.Warn("retention suspended: the clock of this machine differs from the database's; correct the wrong one",
			"ahead_seconds", int64(ahead.Seconds()))
	case before && !skewed:
		r.log.Info("retention resumed: the clocks agree")
	}
	return !skewed
}
