package retention

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
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

func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		outcomes := []outcome{{true, nil}, {true, nil}, {false, nil}, {false, errors.New("no connection")}, {false, nil}}
		var at []time.Duration
		var log bytes.Buffer
		runner := New(slog.New(slog.NewTextHandler(&log, nil)), databaseAhead(maxSkew), Job{Name: "old rows", Every: time.Minute, Run: func(ctx context.Context, now time.Time) (bool, error) {
			if !now.Equal(time.Now().Add(maxSkew)) {
				t.Errorf("the run is given %v; want the database's time", now)
			}
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the run has no deadline")
			}
			next := outcomes[min(len(at), len(outcomes)-1)]
			at = append(at, time.Since(began))
			return next.more, next.err
		}})
		if err := runner.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := runner.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, 0, 0, time.Minute, time.Minute + retryAfter}
		if !slices.Equal(at, want) {
			t.Errorf("runs at %v; want %v", at, want)
		}
		if strings.Count(log.String(), "no connection") != 1 {
			t.Errorf("log: %s", &log)
		}
		time.Sleep(time.Hour)
		if len(at) != len(want) {
			t.Error("a job ran after Stop")
		}
	})
}

func TestRunner_Stop_cancels_a_running_job(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		runner := New(slog.New(slog.NewTextHandler(&log, nil)), databaseAhead(0), Job{Every: time.Minute, Run: func(ctx context.Context, _ time.Time) (bool, error) {
			<-ctx.Done()
			return true, ctx.Err()
		}})
		_ = runner.Start(t.Context())
		synctest.Wait()
		_ = runner.Stop(t.Context())
		if log.Len() > 0 {
			t.Errorf("log: %s", &log)
		}
	})
}

// One of two clocks that differ is wrong: nothing runs, whichever is ahead.
func TestRunner_clocks_differ(t *testing.T) {
	for _, ahead := range []time.Duration{maxSkew + time.Second, -maxSkew - time.Second, 240 * time.Hour, -240 * time.Hour, 12_000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			clocks := databaseAhead(0)
			var corrected atomic.Bool
			var runs atomic.Int32
			clocks.Local = func() time.Time {
				if corrected.Load() {
					return time.Now()
				}
				return time.Now().Add(ahead)
			}
			runner := New(slog.New(slog.NewTextHandler(&log, nil)), clocks, Job{Every: time.Minute, Run: func(context.Context, time.Time) (bool, error) {
				runs.Add(1)
				return false, nil
			}})
			_ = runner.Start(t.Context())
			time.Sleep(150 * time.Second)
			synctest.Wait()
			if runs.Load() > 0 || strings.Count(log.String(), "retention suspended") != 1 {
				t.Errorf("ahead by %s: %d runs, log: %s", ahead, runs.Load(), &log)
			}
			corrected.Store(true)
			time.Sleep(time.Minute)
			_ = runner.Stop(t.Context())
			if runs.Load() != 1 || strings.Count(log.String(), "retention resumed") != 1 {
				t.Errorf("after %s was corrected: %d runs, log: %s", ahead, runs.Load(), &log)
			}
		})
	}
}

// Without the database's time nothing runs.
func TestRunner_no_database_clock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		clocks := Clocks{Local: time.Now, Database: func(context.Context) (time.Time, error) { return time.Time{}, errors.New("no connection") }}
		runner := New(slog.New(slog.NewTextHandler(&log, nil)), clocks, Job{Every: time.Minute, Run: func(context.Context, time.Time) (bool, error) {
			t.Error("the job ran")
			return false, nil
		}})
		_ = runner.Start(t.Context())
		synctest.Wait()
		_ = runner.Stop(t.Context())
		if !strings.Contains(log.String(), "no connection") {
			t.Errorf("log: %s", &log)
		}
	})
}
