package retention

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
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

func TestRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		outcomes := []outcome{{true, nil}, {true, nil}, {false, nil}, {false, errors.New("no connection")}, {false, nil}}
		var at []time.Duration
		var log bytes.Buffer
		runner := New(slog.New(slog.NewTextHandler(&log, nil)), Job{Name: "old rows", Every: time.Minute, Run: func(ctx context.Context) (bool, error) {
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
		runner := New(slog.New(slog.NewTextHandler(&log, nil)), Job{Every: time.Minute, Run: func(ctx context.Context) (bool, error) {
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
