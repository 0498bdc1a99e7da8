package queue

import (
	"context"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Periodic is work that one instance of the cluster does at a time: when an
// instance becomes River's leader, as at its start, and then at an interval. It
// must be idempotent: schedules are forgotten when the leader changes, and a
// process that hangs may come back.
type Periodic struct {
	Name  string
	Every time.Duration
	// Run has the time of periodicTimeout. It reports whether it is to be called
	// again in some seconds, because it failed or isn't done, instead of at the next
	// interval. By the local clock: if that may be wrong, it must return false.
	Run func(ctx context.Context) (again bool)
}

const (
	// periodicKind is the River kind of periodic jobs, and their queue.
	periodicKind = "periodic"
	// periodicTimeout bounds one run.
	periodicTimeout = time.Minute
	// periodicPause is the time until a run that isn't done continues.
	periodicPause = 10 * time.Second
)

// periodicArgs are the arguments of a periodic job.
type periodicArgs struct {
	Name string `json:"name"`
}

// Kind implements river.JobArgs.
func (periodicArgs) Kind() string { return periodicKind }

// waitingStates are those of jobs that aren't done. There is at most one such job
// of each name, so that a long outage leaves no backlog.
var waitingStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// addPeriodic adds the work to the configuration of a client that works.
func addPeriodic(cfg *river.Config, list []Periodic) {
	if len(list) == 0 {
		return
	}
	byName := periodicWorker{}
	for _, p := range list {
		byName[p.Name] = p
		cfg.PeriodicJobs = append(cfg.PeriodicJobs, river.NewPeriodicJob(river.PeriodicInterval(p.Every),
			func() (river.JobArgs, *river.InsertOpts) {
				return periodicArgs{p.Name}, &river.InsertOpts{
					Queue: periodicKind, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: waitingStates},
				}
			}, &river.PeriodicJobOpts{RunOnStart: true}))
	}
	river.AddWorker(cfg.Workers, byName)
	cfg.Queues[periodicKind] = river.QueueConfig{MaxWorkers: len(list)}
}

// periodicWorker runs periodic jobs by name.
type periodicWorker map[string]Periodic

// Work implements river.Worker.
func (w periodicWorker) Work(ctx context.Context, job *river.Job[periodicArgs]) error {
	p, known := w[job.Args.Name]
	if known && p.Run(ctx) {
		return river.JobSnooze(periodicPause)
	}
	return nil // unknown: the leader is of another release, and adds it again
}

// Timeout implements river.Worker.
func (periodicWorker) Timeout(*river.Job[periodicArgs]) time.Duration { return periodicTimeout }

// NextRetry implements river.Worker, for jobs without an outcome.
func (periodicWorker) NextRetry(*river.Job[periodicArgs]) time.Time {
	return time.Now().Add(periodicPause)
}

// Middleware implements river.Worker.
func (periodicWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware { return nil }
