package retention

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is what one run of a job returns.
type outcome struct {
	more bool
	err  error
}

// databaseAhead returns clocks of which the database's is ahead.
func databaseAhead(d time.Duration) Clocks {
	return Clocks{Local: time.Now, Database: func(context.Context) (time.Time, error) { return time.Now().Add(d), nil }}
}

// newRunner returns a Runner and its log.
func newRunner(clocks Clocks) (*Runner, *bytes.Buffer) {
	log := &bytes.Buffer{}
	return New(slog.New(slog.NewTextHandler(log, nil)), clocks), log
}

func TestRunner_Run(t *testing.T) {
	for name, test := range map[string]struct {
		outcomes []outcome
		again    bool
		logged   int
	}{
		"nothing left": {outcomes: []outcome{{false, nil}}},
		"batches":      {outcomes: []outcome{{true, nil}, {true, nil}, {false, nil}}},
		"failure":      {outcomes: []outcome{{true, nil}, {false, errors.New("no connection")}}, again: true, logged: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runs := 0
				runner, log := newRunner(databaseAhead(maxSkew))
				again := runner.Run(t.Context(), Job{Run: func(_ context.Context, now time.Time) (bool, error) {
					if !now.Equal(time.Now().Add(maxSkew)) {
						t.Errorf("the run is given %v; want the database's time", now)
					}
					runs++
					return test.outcomes[runs-1].more, test.outcomes[runs-1].err
				}})
				if again != test.again || runs != len(test.outcomes) || strings.Count(log.String(), "no connection") != test.logged {
					t.Errorf("got again %t, %d runs, log: %s", again, runs, log)
				}
			})
		})
	}
}

// A job that the server's stop interrupts isn't reported as failed; one that takes
// too long is. Both go on later.
func TestRunner_Run_interrupted(t *testing.T) {
	for name, logged := range map[string]int{"stop": 0, "deadline": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				runner, log := newRunner(databaseAhead(0))
				again := runner.Run(ctx, Job{Run: func(ctx context.Context, _ time.Time) (bool, error) {
					if name == "stop" {
						cancel()
					}
					<-ctx.Done()
					return true, ctx.Err()
				}})
				if !again || strings.Count(log.String(), "retention job failed") != logged {
					t.Errorf("got again %t, log: %s", again, log)
				}
				if again := runner.Run(ctx, Job{Run: func(context.Context, time.Time) (bool, error) {
					t.Error("a job ran after the end")
					return false, nil
				}}); !again {
					t.Error("a job that didn't run isn't to run again")
				}
			})
		})
	}
}

// One of two clocks that differ is wrong: nothing runs, whichever is ahead. Nor is
// the time of the next run left to the local clock.
func TestRunner_Run_clocks_differ(t *testing.T) {
	for _, ahead := range []time.Duration{maxSkew + time.Second, -maxSkew - time.Second, 240 * time.Hour, -240 * time.Hour, 12_000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			clocks, corrected, runs := databaseAhead(0), false, 0
			clocks.Local = func() time.Time {
				if corrected {
					return time.Now()
				}
				return time.Now().Add(ahead)
			}
			runner, log := newRunner(clocks)
			job := Job{Run: func(context.Context, time.Time) (bool, error) { runs++; return false, nil }}
			for range 3 {
				if runner.Run(t.Context(), job) {
					t.Errorf("ahead by %s: the job is to run again soon", ahead)
				}
			}
			if runs > 0 || strings.Count(log.String(), "retention suspended") != 1 {
				t.Errorf("ahead by %s: %d runs, log: %s", ahead, runs, log)
			}
			corrected = true
			if runner.Run(t.Context(), job); runs != 1 || strings.Count(log.String(), "retention resumed") != 1 {
				t.Errorf("after %s was corrected: %d runs, log: %s", ahead, runs, log)
			}
		})
	}
}

// Without the database's time nothing runs.
func TestRunner_Run_no_database_clock(t *testing.T) {
	runner, log := newRunner(Clocks{Local: time.Now, Database: func(context.Context) (time.Time, error) { return time.Time{}, errors.New("no connection") }})
	again := runner.Run(t.Context(), Job{Run: func(context.Context, time.Time) (bool, error) {
		t.Error("the job ran")
		return false, nil
	}})
	if again || !strings.Contains(log.String(), "no connection") {
		t.Errorf("got again %t, log: %s", again, log)
	}
}
