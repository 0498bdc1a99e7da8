package workpool

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ratelimiter/models"
)

// job is a generated job: when it arrives, how long it runs, and when its caller
// cancels (0: never).
type job struct {
	owner                  string
	arrives, runs, cancels time.Duration
	panics                 bool
}

// The results of a job.
const (
	completed = "completed"
	rejected  = "rejected"
	canceled  = "canceled"
	panicked  = "panicked"
)

// outcome is the result of a job and its time.
type outcome struct {
	result string
	at     time.Duration
}

// waitingJobs is a queue in order of arrival whose owners take turns.
type waitingJobs struct {
	line  []int
	turns []string // owners with waiting jobs
}

// of returns the waiting jobs of an owner.
func (w *waitingJobs) of(jobs []job, owner string) (own []int) {
	for _, i := range w.line {
		if jobs[i].owner == owner {
			own = append(own, i)
		}
	}
	return own
}

func (w *waitingJobs) add(jobs []job, i int) {
	w.line = append(w.line, i)
	if !slices.Contains(w.turns, jobs[i].owner) {
		w.turns = append(w.turns, jobs[i].owner)
	}
}

func (w *waitingJobs) remove(jobs []job, i int) {
	w.line = slices.DeleteFunc(w.line, func(other int) bool { return other == i })
	if len(w.of(jobs, jobs[i].owner)) == 0 {
		w.turns = slices.DeleteFunc(w.turns, func(owner string) bool { return owner == jobs[i].owner })
	}
}

// next removes and returns the job whose turn it is.
func (w *waitingJobs) next(jobs []job) int {
	owner := w.turns[0]
	i := w.of(jobs, owner)[0]
	w.remove(jobs, i)
	if len(w.turns) > 0 && w.turns[0] == owner {
		w.turns = append(w.turns[1:], owner)
	}
	return i
}

// victim returns the waiting job that a full queue drops for a job of owner, or
// -1 to reject that one.
func (w *waitingJobs) victim(jobs []job, owner string) int {
	var longest []int
	for _, other := range w.turns {
		if own := w.of(jobs, other); len(own) > len(longest) {
			longest = own
		}
	}
	if len(longest) <= len(w.of(jobs, owner))+1 {
		return -1
	}
	return longest[len(longest)-1]
}

// simulate is an independent model of the pool: an event simulation of workers
// and a queue whose owners take turns.
func simulate(jobs []job, workers, queue int) []outcome {
	type state struct {
		stage string // "", waiting, working, gone
		ends  time.Duration
	}
	outcomes, states := make([]outcome, len(jobs)), make([]state, len(jobs))
	var line waitingJobs
	working := 0
	begin := func(i int, now time.Duration) {
		working++
		states[i] = state{"working", now + jobs[i].runs}
		if h := jobs[i].cancels; h > 0 && h < states[i].ends {
			states[i].ends = h
		}
	}
	for {
		next, at := -1, time.Duration(1<<62) // the next event
		for i, g := range jobs {
			when := at
			switch states[i].stage {
			case "":
				when = g.arrives
			case "waiting", "working":
				when = states[i].ends
			}
			if when < at {
				next, at = i, when
			}
		}
		if next < 0 {
			return outcomes
		}
		g := jobs[next]
		switch states[next].stage {
		case "":
			switch {
			case working < workers:
				begin(next, at)
			case len(line.line) < queue || line.victim(jobs, g.owner) >= 0:
				if len(line.line) == queue {
					dropped := line.victim(jobs, g.owner)
					line.remove(jobs, dropped)
					states[dropped].stage, outcomes[dropped] = "gone", outcome{rejected, at}
				}
				line.add(jobs, next)
				states[next] = state{"waiting", at + maxQueueTime}
				if g.cancels > 0 && g.cancels < at+maxQueueTime {
					states[next].ends = g.cancels
				}
			default:
				states[next].stage, outcomes[next] = "gone", outcome{rejected, at}
			}
		case "waiting":
			line.remove(jobs, next)
			states[next].stage, outcomes[next] = "gone", outcome{rejected, at}
			if at == g.cancels {
				outcomes[next].result = canceled
			}
		case "working":
			working--
			states[next].stage, outcomes[next] = "gone", outcome{completed, at}
			switch {
			case at == g.cancels:
				outcomes[next].result = canceled
			case g.panics:
				outcomes[next].result = panicked
			}
			if len(line.line) > 0 {
				begin(line.next(jobs), at)
			}
		}
	}
}

// run runs a job in a real pool.
func run(p *Pool, g job, start time.Time, inside func(int)) (f outcome) {
	time.Sleep(g.arrives)
	ctx := of(g.owner)
	if g.cancels > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, start.Add(g.cancels))
		defer cancel()
	}
	defer func() {
		if recover() != nil {
			f = outcome{panicked, time.Since(start)}
		}
	}()
	err := p.Do(ctx, func(ctx context.Context) error {
		inside(1)
		defer inside(-1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(g.runs):
		}
		if g.panics {
			panic("oh")
		}
		return nil
	})
	switch at := time.Since(start); {
	case err == nil:
		return outcome{completed, at}
	case errors.Is(err, models.ErrOverloaded):
		return outcome{rejected, at}
	default:
		return outcome{canceled, at}
	}
}

// randomJobs generates a load. Every instant has random nanoseconds, so that no
// two events coincide, whose order would be undefined.
func randomJobs(random *rand.Rand) []job {
	jobs := make([]job, 1+random.IntN(60))
	rush := time.Duration(1 + random.IntN(2000))
	for i := range jobs {
		odd := time.Duration(random.IntN(1_000_000))
		jobs[i] = job{
			owner:   string(rune('a' + random.IntN(1+random.IntN(4)))), // a has the most
			arrives: time.Duration(random.Int64N(int64(rush)))*time.Millisecond + odd,
			runs:    time.Duration(1+random.IntN(300))*time.Millisecond + time.Duration(random.IntN(1_000_000)),
			panics:  random.IntN(10) == 0,
		}
		if random.IntN(4) == 0 {
			jobs[i].cancels = jobs[i].arrives + time.Duration(1+random.IntN(700))*time.Millisecond + time.Duration(random.IntN(1_000_000))
		}
	}
	return jobs
}

// Under any load every job has the outcome of the model, to the nanosecond; no
// more than the allowed workers run; and all slots are released.
func TestPool_Do_matches_the_model(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		workers, queue := 1+random.IntN(4), random.IntN(8)
		jobs := randomJobs(random)
		want := simulate(jobs, workers, queue)
		synctest.Test(t, func(t *testing.T) {
			pool := NewSized(workers, queue)
			got := make([]outcome, len(jobs))
			working, most := make(chan int, 1), 0
			working <- 0
			inside := func(change int) {
				now := <-working + change
				most = max(most, now)
				working <- now
			}
			start := time.Now()
			for i, g := range jobs {
				go func() { got[i] = run(pool, g, start, inside) }()
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			for i := range jobs {
				if got[i] != want[i] {
					t.Errorf("seed %d: %d workers, queue %d: job %d %+v: %+v; want %+v", seed, workers, queue, i, jobs[i], got[i], want[i])
				}
				seen[got[i].result]++
			}
			if most > workers {
				t.Errorf("seed %d: %d ran at once; at most %d may", seed, most, workers)
			}
			pool.empty(t, workers)
		})
		if t.Failed() {
			return
		}
	}
	for _, result := range []string{completed, rejected, canceled, panicked} {
		if seen[result] < 100 {
			t.Errorf("%s: only %d jobs", result, seen[result])
		}
	}
}
