// Package retention runs the jobs that delete expired rows or create the
// partitions that are needed next, unless a clock is wrong.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
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

// Runner runs jobs on request. Deletions are idempotent, so that
// instances may run the same job at once. No job runs while the clocks differ by
// more than maxSkew. It is safe for concurrent use.
type Runner struct {
	log    *slog.Logger
	clocks Clocks
	skewed atomic.Bool // the clocks differed at the last comparison
}

// New returns a Runner.
func New(log *slog.Logger, clocks Clocks) *Runner { return &Runner{log: log, clocks: clocks} }

// Run runs a job until nothing is left for it, or ctx ends. It logs failures, and
// reports whether the job is to run again soon. While the clocks differ, or the
// database's can't be read, it returns false.
func (r *Runner) Run(ctx context.Context, job Job) (again bool) {
	for ctx.Err() == nil {
		now, err := r.clocks.Database(ctx)
		if err != nil {
			r.logFailure(ctx, job, err)
			return false
		}
		if !r.clocksAgree(now) {
			return false
		}
		more, err := job.Run(ctx, now)
		if err != nil {
			r.logFailure(ctx, job, err)
			return true
		}
		if !more {
			return false
		}
	}
	return true
}

// logFailure logs why a job failed, unless ctx was canceled, because the server
// stops.
func (r *Runner) logFailure(ctx context.Context, job Job, err error) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		r.log.Warn("retention job failed", "job", job.Name, "error", err.Error())
	}
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
