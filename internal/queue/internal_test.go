package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// What was read before this instance changed a group is out of date.
func TestGate_refresh(t *testing.T) {
	t.Parallel()
	var g gate
	g.set("a", true)
	if err := g.refresh(func() ([]string, error) { return []string{"b"}, nil }); err != nil || g.isPaused("a") || !g.isPaused("b") {
		t.Errorf("error %v, paused %v", err, g.paused)
	}
	if err := g.refresh(func() ([]string, error) { g.set("a", true); return nil, nil }); err != nil || !g.isPaused("a") {
		t.Errorf("error %v, paused %v; want the change kept", err, g.paused)
	}
}

// River deletes cancelled and discarded jobs after some time by default, and lets
// a process keep a job for an hour.
func TestWorker_riverConfig(t *testing.T) {
	t.Parallel()
	w, err := NewWorker(&Queue{log: slog.New(slog.DiscardHandler)}, nil, Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.riverConfig(true)
	if cfg.CancelledJobRetentionPeriod != -1 || cfg.DiscardedJobRetentionPeriod != -1 || !cfg.PollOnly || cfg.MaxAttempts < 30_000 {
		t.Errorf("config %+v", cfg)
	}
	if most := cfg.RescueStuckJobsAfter - cfg.JobTimeout; most < recordTimeout || cfg.RescueStuckJobsAfter > 10*deliveryTimeout {
		t.Errorf("a job is rescued %s after the end of its delivery", most)
	}
}

// A retry that is due soon doesn't wait for River's scheduler.
func TestInsertTimes(t *testing.T) {
	t.Parallel()
	for delay, want := range map[time.Duration]rivertype.JobState{
		time.Second: rivertype.JobStateAvailable, schedulerInterval - time.Second: rivertype.JobStateAvailable, 2 * schedulerInterval: rivertype.JobStateScheduled,
	} {
		at := time.Now().Add(delay)
		job := &rivertype.JobInsertParams{ScheduledAt: &at, State: rivertype.JobStateScheduled}
		if err := new(insertTimes).InsertBegin(t.Context(), job); err != nil || job.State != want || !job.ScheduledAt.Equal(at) {
			t.Errorf("in %s: %s at %s, error %v; want %s", delay, job.State, job.ScheduledAt, err, want)
		}
	}
}

// Messages whose process died are delivered again further apart than others.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	p := unrecorded(RetryPolicy{Base: time.Millisecond, Cap: time.Second, MaxAttempts: 8})
	for attempts, most := range map[[2]int]time.Duration{{0, 1}: schedulerInterval, {1, 1}: 2 * schedulerInterval, {0, 2}: 2 * schedulerInterval, {3, 5}: time.Minute} {
		var latest time.Duration
		for range 200 {
			args := fmt.Appendf(nil, `{"attempt": %d}`, attempts[0])
			latest = max(latest, time.Until(p.NextRetry(&rivertype.JobRow{EncodedArgs: args, Attempt: attempts[1]})))
		}
		if latest > most || latest < most*3/4 {
			t.Errorf("after %v attempts: up to %s, want %s", attempts, latest, most)
		}
	}
	if p := unrecorded(DefaultRetryPolicy); p.Cap != DefaultRetryPolicy.Cap {
		t.Errorf("cap %s", p.Cap)
	}
}

// An instance whose clock is wrong must not delay the periodic work of the others.
func TestInsertTimes_periodic_by_database(t *testing.T) {
	for _, ahead := range []time.Duration{-240 * time.Hour, 0, 240 * time.Hour} {
		at := time.Now().Add(ahead)
		job := &rivertype.JobInsertParams{Kind: periodicKind, ScheduledAt: &at}
		if err := (&insertTimes{}).InsertBegin(t.Context(), job); err != nil || !job.ScheduledAt.IsZero() || job.State != rivertype.JobStateAvailable {
			t.Errorf("ahead by %s: got %+v, error %v; want an available job of the zero time, which the driver replaces", ahead, job, err)
		}
	}
}

func TestStorable(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"a":"b"}`: true, `"\u0000"`: false, `"\\u0000"`: true, `"\\\u0000"`: false, `"\\u0000\u0000"`: false, `"\u00001"`: false, `"\u0001"`: true,
	} {
		if got := storable([]byte(body)); got != want {
			t.Errorf("%s: %t, want %t", body, got, want)
		}
	}
	for body, want := range map[string]string{`[1]`: `[1]`, "no": `"no"`, "\xff\x00": `"??"`, `"\u0000"`: `"\"\\u0000\""`, "": `""`} {
		if got := string(asJSON([]byte(body))); got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
}

// Publishing doesn't end a fault of consuming. A fault that isn't met again is over:
// another instance has published the message.
func TestRelay_setFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := relay{worker: &Worker{queue: &Queue{log: slog.New(slog.NewTextHandler(&log, nil))}}}
		lost := errors.New("connection lost")
		r.setFault(consuming, lost)
		for range 10 {
			r.setFault(publishing, nil)
			time.Sleep(faultAge / 2)
			r.setFault(consuming, lost)
			if !errors.Is(r.broken(), lost) {
				t.Fatal("the fault of consuming is forgotten")
			}
		}
		r.setFault(consuming, nil)
		if got := strings.Count(log.String(), "\n"); r.broken() != nil || got != 2 {
			t.Errorf("fault %v, log %s", r.broken(), &log)
		}
		r.setFault(publishing, lost)
		time.Sleep(faultAge)
		if !errors.Is(r.broken(), lost) {
			t.Error("the fault of publishing ended early")
		}
		time.Sleep(time.Second)
		if r.broken() != nil {
			t.Error("the fault of publishing is still reported")
		}
		if r.setFault(publishing, lost); strings.Count(log.String(), "level=WARN") != 3 {
			t.Errorf("log %s", &log)
		}
	})
}
